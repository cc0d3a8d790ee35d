#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "config.hpp"
#include "config_fields.hpp"

/// Kinds of fields, of which each section's rows are made (its ..._config.cpp): how a value is read from text, checked and written.
namespace dinoxx::field_kinds {

inline constexpr double kNoLimit = std::numeric_limits<double>::infinity();
struct Range {
  double min = -kNoLimit, max = kNoLimit;
};

inline std::string range_text(const Range& range, std::string_view kind) {
  if (range.min == -kNoLimit) return fmt::format("{}", kind);
  if (range.max == kNoLimit) return fmt::format("{} >= {}", kind, range.min);
  return fmt::format("{} from {} to {}", kind, range.min, range.max);
}

inline void read(std::string_view text, int64_t& value, const Range& range) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || static_cast<double>(value) < range.min ||
      static_cast<double>(value) > range.max)
    throw std::invalid_argument(range_text(range, "an integer"));
}
inline void read(std::string_view text, double& value, const Range& range) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < range.min || value > range.max)
    throw std::invalid_argument(range_text(range, "a number"));
}
inline void read(std::string_view text, bool& value, const Range&) {
  if (text == "yes" || text == "true" || text == "on" || text == "1")
    value = true;
  else if (text == "no" || text == "false" || text == "off" || text == "0")
    value = false;
  else
    throw std::invalid_argument("yes or no");
}
inline void read(std::string_view text, Duration& value, const Range&) {
  value = Duration::parse(text);
}
// GLOBALxLOCALxGRAM:SHARE
inline void read(std::string_view text, ViewSizes& value, const Range&) {
  const std::string whole(text);
  const auto part = [&](auto& number, char end, const Range& range) {
    const size_t at = end == '\0' ? text.size() : text.find(end);
    if (at == std::string_view::npos) throw std::invalid_argument(fmt::format("\"{}\" behind it", end));
    read(text.substr(0, at), number, range);
    text.remove_prefix(std::min(at + 1, text.size()));
  };
  try {
    part(value.global, 'x', {1, 16384});
    part(value.local, 'x', {0, 16384});
    part(value.gram, ':', {0, 16384});
    part(value.share, '\0', {0.001, 1000});
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(
        fmt::format("GLOBALxLOCALxGRAM:SHARE, comma, the next, such as 512x112x768:0.3, and not \"{}\" ({})", whole, error.what()));
  }
}
template <class T>
void read(std::string_view text, std::vector<T>& value, const Range& range) {
  std::vector<T> list;
  if (std::is_same_v<T, ViewSizes> && text.empty()) return value.clear();
  while (true) {
    const size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    read(item, list.emplace_back(), range);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  value = std::move(list);
}
template <class T>
void read(std::string_view text, Auto<T>& value, const Range& range) {
  if (text == "auto") {
    value.reset();
    return;
  }
  T inner{};
  try {
    read(text, inner, range);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string(error.what()) + ", or auto");
  }
  value = inner;
}

inline std::string write(int64_t value) {
  return std::to_string(value);
}
inline std::string write(double value) {
  return fmt::format("{}", value);
}
inline std::string write(bool value) {
  return value ? "yes" : "no";
}
inline std::string write(const Duration& value) {
  return value.text();
}
inline std::string write(const std::vector<int64_t>& value) {
  return fmt::format("{}", fmt::join(value, ","));
}
inline std::string write(const std::vector<ViewSizes>& value) {
  std::string text;
  for (const ViewSizes& sizes : value) text += (text.empty() ? "" : ", ") + sizes.text();
  return text;
}
template <class T>
std::string write(const Auto<T>& value) {
  return value ? write(*value) : "auto";
}

inline std::string type_name(const int64_t*) {
  return "integer";
}
inline std::string type_name(const double*) {
  return "number";
}
inline std::string type_name(const bool*) {
  return "yes|no";
}
inline std::string type_name(const Duration*) {
  return "duration";
}
template <class T>
std::string type_name(const std::vector<T>*) {
  return "list";
}
template <class T>
std::string type_name(const Auto<T>*) {
  return type_name(static_cast<const T*>(nullptr)) + "|auto";
}

template <auto Part, auto Member>
Field field(std::string key, std::string default_text, std::string help, Range range = {}) {
  using Value = std::remove_cvref_t<decltype((*(std::declval<Config&>().*Part)).*Member)>;
  Field f{std::move(key), type_name(static_cast<const Value*>(nullptr)), std::move(default_text), std::move(help), true, {}, {}};
  f.set = [range](Config& config, std::string_view text) { read(text, (*(config.*Part)).*Member, range); };
  f.get = [](const Config& config) { return write((*(config.*Part)).*Member); };
  return f;
}

template <auto Part, auto Member>
Field choice(std::string key, std::string default_text, std::vector<std::string> names, std::string help) {
  Field f{std::move(key), fmt::format("{}", fmt::join(names, "|")), std::move(default_text), std::move(help), true, {}, {}};
  f.set = [names](Config& config, std::string_view text) {
    for (const std::string& name : names) {
      if (text != name) continue;
      (*(config.*Part)).*Member = name;
      return;
    }
    throw std::invalid_argument(fmt::format("one of {}", fmt::join(names, ", ")));
  };
  f.get = [](const Config& config) { return (*(config.*Part)).*Member; };
  return f;
}

/// Free text, such as a path; empty: none.
template <auto Part, auto Member>
Field text(std::string key, std::string help, std::string default_text = "") {
  Field f{std::move(key), "text", std::move(default_text), std::move(help), true, {}, {}};
  f.set = [](Config& config, std::string_view value) { (*(config.*Part)).*Member = std::string(value); };
  f.get = [](const Config& config) { return (*(config.*Part)).*Member; };
  return f;
}

/// A name that a module above knows, which also refuses an unknown one (method/settings/resolve.hpp).
template <auto Part, auto Member>
Field name(std::string key, std::string default_text, std::string help) {
  Field f{std::move(key), "name", std::move(default_text), std::move(help), true, {}, {}};
  f.set = [](Config& config, std::string_view value) {
    if (value.empty()) throw std::invalid_argument("a name");
    (*(config.*Part)).*Member = std::string(value);
  };
  f.get = [](const Config& config) { return (*(config.*Part)).*Member; };
  return f;
}

/// A bare number of a duration is epochs: the key once took nothing else, and saved runs have it so.
inline Field bare_epochs(Field f) {
  f.set = [set = f.set](Config& config, std::string_view text) {
    const bool bare = !text.empty() && text.find_first_not_of("0123456789.e-") == std::string_view::npos;
    set(config, bare ? std::string(text) + "ep" : std::string(text));
  };
  return f;
}

/// A choice whose key took yes or no once, and saved runs have it so.
inline Field once_yes_or_no(std::string yes, std::string no, Field f) {
  f.set = [yes = std::move(yes), no = std::move(no), set = f.set](Config& config, std::string_view text) {
    bool was = false;
    try {
      read(text, was, {});
    } catch (const std::invalid_argument&) {
      return set(config, text);
    }
    set(config, was ? yes : no);
  };
  return f;
}

inline Field not_training(Field f) {
  f.training = false;
  return f;
}

inline Field of_machine(Field f) {
  f.training = false;
  f.of_machine = true;
  return f;
}

inline Field shapes_network(Field f) {
  f.shapes_network = true;
  return f;
}

inline Field other_function(Field f) {
  f.other_function = true;
  return f;
}

inline Field of_method(Field f) {
  f.of_method = true;
  return f;
}

inline Field when(std::vector<Condition> conditions, Field f) {
  f.read_where = std::move(conditions);
  return f;
}

}  // namespace dinoxx::field_kinds
