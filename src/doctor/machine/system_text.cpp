#include "system_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace dinoxx::doctor {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n");
  return first == text.npos ? std::string_view() : text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

// A whole number that is all of the text; -1 for what is none.
long number(std::string_view text) {
  long value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

// Calls `see` with each piece between separators, until it says no.
template <typename See>
bool pieces(std::string_view text, char separator, const See& see) {
  for (;;) {
    const size_t end = text.find(separator);
    if (!see(text.substr(0, end))) return false;
    if (end == text.npos) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  constexpr long kMost = 1 << 20;
  std::vector<int> cpus;
  text = trimmed(text);
  if (text.empty()) return cpus;
  const bool good = pieces(text, ',', [&](std::string_view piece) {
    const size_t dash = piece.find('-');
    const long first = number(piece.substr(0, dash)), last = dash == piece.npos ? first : number(piece.substr(dash + 1));
    if (first < 0 || last < first || last > kMost) return false;
    for (long cpu = first; cpu <= last; ++cpu) cpus.push_back(static_cast<int>(cpu));
    return true;
  });
  if (!good) return std::nullopt;
  std::sort(cpus.begin(), cpus.end());
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  return cpus;
}

std::string cpu_list_text(const std::vector<int>& cpus) {
  std::string text;
  for (size_t i = 0; i < cpus.size();) {
    size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", cpus[i]);
    if (last > i) text += fmt::format("-{}", cpus[last]);
    i = last + 1;
  }
  return text;
}

double cores_of_cfs(std::string_view quota, std::string_view period) {
  const long used = number(trimmed(quota)), of = number(trimmed(period));
  return used > 0 && of > 0 ? static_cast<double>(used) / static_cast<double>(of) : 0;
}

double cores_of_cpu_max(std::string_view text) {
  text = trimmed(text);
  const size_t blank = text.find(' ');
  return blank == text.npos ? 0 : cores_of_cfs(text.substr(0, blank), text.substr(blank + 1));
}

std::optional<std::string> group_of(std::string_view membership, std::string_view controller) {
  std::optional<std::string> group;
  pieces(membership, '\n', [&](std::string_view line) {  // "4:cpu,cpuacct:/job" in version 1, "0::/job" in version 2
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) return true;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool named =
        controller.empty() ? controllers.empty() : !pieces(controllers, ',', [&](std::string_view one) { return one != controller; });
    if (named) group = std::string(line.substr(second + 1));
    return !named;
  });
  return group;
}

std::string value_of(std::string_view lines, std::string_view name) {
  std::string value;
  pieces(lines, '\n', [&](std::string_view line) {
    if (!line.starts_with(name) || line.substr(name.size(), 1) != ":") return true;
    value = std::string(trimmed(line.substr(name.size() + 1)));
    return false;
  });
  return value;
}

std::string driver_version(std::string_view text) {
  std::string version;
  pieces(text.substr(0, text.find('\n')), ' ', [&](std::string_view word) {
    const bool is = word.find('.') != word.npos && word.find_first_not_of("0123456789.") == word.npos;
    if (is) version = std::string(word);
    return !is;
  });
  return version;
}

double megabits_of_rate(std::string_view text) {
  const std::string copy(trimmed(text));
  char* end = nullptr;
  const double rate = std::strtod(copy.c_str(), &end);
  const std::string_view unit = trimmed(std::string_view(copy).substr(static_cast<size_t>(end - copy.c_str())));
  return rate > 0 && unit.starts_with("Gb/sec") ? rate * 1000 : 0;
}

double bytes_of_pcie(std::string_view text) {
  const size_t lanes_at = text.rfind(" x");
  const std::string copy(text);
  char* end = nullptr;
  const double transfers = std::strtod(copy.c_str(), &end);
  if (lanes_at == text.npos || transfers <= 0 || std::string_view(end).find("GT/s") == std::string_view::npos) return 0;
  const long lanes = number(trimmed(text.substr(lanes_at + 2)));
  const double coded = transfers < 8 ? 8.0 / 10 : 128.0 / 130;
  return lanes > 0 ? transfers * 1e9 / 8 * coded * static_cast<double>(lanes) : 0;
}

}  // namespace dinoxx::doctor
