#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "dinoxx/base/error.hpp"
#include "pack_plan.hpp"

namespace dinoxx::detail {
namespace {

bool whole_number(const std::string& text, int64_t& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end;
}

}  // namespace

CsvTable parse_csv(const std::string& text, const std::string& path) {
  CsvTable table;
  size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  size_t line = 1;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false;  // this field began with a quote
  size_t row_line = 1;
  const auto end_field = [&] {
    row.push_back(std::move(field));
    field.clear();
    quoted = false;
  };
  const auto end_row = [&] {
    if (!row.empty() || !field.empty() || quoted) {
      end_field();
      table.rows.push_back(std::move(row));
      table.line.push_back(row_line);
      row.clear();
    }
    row_line = line;
  };
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"' && field.empty() && !quoted) {
      quoted = true;
      const size_t opened = line;
      for (++at;; ++at) {
        if (at >= text.size()) fail_usage(fmt::format("{}, line {}", path, opened), "a closing quote", "the end of the file", "Close the quote");
        if (text[at] == '\n') ++line;
        if (text[at] != '"') {
          field += text[at];
        } else if (at + 1 < text.size() && text[at + 1] == '"') {
          field += text[at++];
        } else {
          break;
        }
      }
      ++at;
      if (at < text.size() && text[at] != ',' && text[at] != '\r' && text[at] != '\n') {
        fail_usage(fmt::format("{}, line {}", path, line), "a comma after a closing quote", fmt::format("'{}'", text[at]), "Double quotes inside quotes: \"\"");
      }
      continue;
    }
    if (c == ',') {
      end_field();
    } else if (c == '\n') {
      ++line;
      end_row();
    } else if (c != '\r' || (at + 1 < text.size() && text[at + 1] != '\n')) {
      field += c;
    }
    ++at;
  }
  end_row();
  return table;
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
    labels.push_back(value.empty() ? -1 : static_cast<int32_t>(std::lower_bound(classes.begin(), classes.end(), value, before) - classes.begin()));
  }
  return classes;
}

}  // namespace dinoxx::detail
