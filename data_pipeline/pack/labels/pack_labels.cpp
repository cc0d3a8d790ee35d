#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <string_view>

#include "data_pipeline/pack/pack_plan.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

/// "12", and "12.0" as tables with gaps write it.
bool whole_number(std::string_view text, int64_t& value) {
  if (const size_t point = text.find('.');
      point != std::string_view::npos && text.find_first_not_of('0', point + 1) == std::string_view::npos) {
    text = text.substr(0, point);
  }
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end;
}

/// Words by which tables say "nothing", and which are no class anywhere.
bool means_nothing(std::string_view text) {
  std::string word(text);
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word == "nan" || word == "<na>" || word == "#n/a";
}

}  // namespace

std::string_view without_blanks(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

void clear_missing_labels(const std::string& column, std::vector<std::string>& values, std::vector<std::string>& notes) {
  std::map<std::string, uint64_t> count;
  for (const std::string& value : values) ++count[value];
  count.erase("");
  bool numbers = true, negative = false, only_ones = true;
  std::string minus_one;
  for (const auto& [value, n] : count) {
    if (means_nothing(value)) continue;
    int64_t number = 0;
    numbers = numbers && whole_number(value, number);
    if (number == -1) minus_one = value;
    negative = negative || number < -1;
    only_ones = only_ones && (number == 1 || number == -1);
  }
  // -1 beside 0, 1, 2 ... is no class; alone with 1 it is one of two
  const bool clears_minus_one = numbers && !negative && !only_ones && !minus_one.empty();
  for (const auto& [value, n] : count) {
    if (!means_nothing(value) && !(clears_minus_one && value == minus_one)) continue;
    notes.push_back(fmt::format("column \"{}\": {} fields \"{}\" count as no label", column, n, value));
    std::replace(values.begin(), values.end(), value, std::string());
  }
}

std::vector<std::string> number_classes(const std::vector<std::string>& values, std::vector<int32_t>& labels) {
  std::vector<std::string> classes = values;
  std::erase(classes, std::string());
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  int64_t number = 0;
  const bool numbers = std::all_of(classes.begin(), classes.end(), [&](const std::string& name) { return whole_number(name, number); });
  const auto before = [numbers](const std::string& a, const std::string& b) {
    int64_t x = 0, y = 0;
    if (numbers && whole_number(a, x) && whole_number(b, y) && x != y) return x < y;
    return a < b;
  };
  std::sort(classes.begin(), classes.end(), before);
  labels.clear();
  for (const std::string& value : values) {
    labels.push_back(
        value.empty() ? -1 : static_cast<int32_t>(std::lower_bound(classes.begin(), classes.end(), value, before) - classes.begin()));
  }
  return classes;
}

}  // namespace dinoxx::detail
