#include "config_help.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "data_pipeline/augment/view_profiles.hpp"
#include "method/methods.hpp"
#include "resolve.hpp"
#include "train/training_config.hpp"
#include "unread_keys.hpp"

namespace dinoxx {
namespace {

using Names = std::vector<std::string>;

std::string listed(const Names& names) {
  if (names.size() < 2) return names.empty() ? "" : names.front();
  return fmt::format("{} and {}", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

Config of_method(const Method& method, uint64_t images) {
  Config config = default_config();
  config.train->method = method.name;
  return resolve_unchecked(config, images, 1, 1);
}

// What "auto" becomes for one method on the default network: a value, or two where a small and a large set differ.
std::string automatic(const Field& field, const Method& method) {
  const std::string small = field.get(of_method(method, 1'000)), large = field.get(of_method(method, 10'000'000));
  return small == large ? small : fmt::format("{} to {} by the number of training images", small, large);
}

// "adamw, for byol and simclr lars": the value of most methods, then the others.
std::string automatic_by_method(const Field& field) {
  std::vector<std::pair<std::string, Names>> groups;
  for (const Method& method : methods()) {
    if (!reads(method, field)) continue;
    const std::string value = automatic(field, method);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& known) { return known.first == value; });
    if (group == groups.end()) group = groups.insert(groups.end(), {value, {}});
    group->second.push_back(method.name);
  }
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  std::string text;
  for (const auto& [value, names] : groups) text += text.empty() ? value : fmt::format(", for {} {}", listed(names), value);
  return text;
}

// Who reads the key, and when; empty: every run.
std::string read_by(const Field& field) {
  Names names, others, conditions;
  for (const Method& method : methods()) (reads(method, field) ? names : others).push_back(method.name);
  for (const Condition& condition : field.read_where) conditions.push_back(condition.text);
  std::string text;
  if (!others.empty()) text = others.size() < names.size() ? "all but " + listed(others) : listed(names);
  if (!conditions.empty()) text += fmt::format("{}where {}", text.empty() ? "" : ", ", listed(conditions));
  return text;
}

std::string type_of(const Field& field) {
  if (field.key == "train.method") return fmt::format("{}", fmt::join(method_names(), "|"));
  if (field.key == "views.profile") return fmt::format("auto|{}", fmt::join(view_profiles(), "|"));
  return field.type;
}

std::string meaning(const Field& field) {
  const bool open = field.default_text == "auto" && field.help.find("auto:") == std::string::npos && field.training;
  return open ? fmt::format("{}; auto: {}", field.help, automatic_by_method(field)) : field.help;
}

}  // namespace

FieldText describe(const Field& field) {
  const std::string readers = read_by(field);
  return {type_of(field), meaning(field) + (readers.empty() ? "" : fmt::format(" [{}]", readers))};
}

std::string config_markdown() {
  std::string text =
      "# Configuration\n\n"
      "Written from the table in `src/config/config_fields.cpp` and the methods in `src/method`; a test compares them "
      "(`DINOXX_UPDATE_DOCS=1` makes it write this page).\n"
      "A configuration is an INI file; every key is also a command-line option, `--section.key value`, which wins over the file. Durations "
      "carry units:\n"
      "`10ep` (epochs), `5000it` (steps), `64000samples` (images over all ranks). `auto` values are chosen from the method, from the size "
      "of "
      "the data set\n"
      "or of the machine, printed at the start and stored in the run folder's `config.cfg`.\n\n"
      "The last column says which runs read a key: by which methods (empty: all), and where. A key that is set and that the run does not "
      "read "
      "is refused\n"
      "by name. Set means: to another value than the default, and than what `auto` becomes. A run's `config.cfg`, which holds all keys, is "
      "accepted again.\n\n"
      "| method | what it is |\n|---|---|\n";
  for (const Method& method : methods()) text += fmt::format("| `{}` | {} |\n", method.name, method.summary);
  for (const Section& section : config_sections()) {
    text +=
        fmt::format("\n## [{}]: {}\n\n| key | type | default | meaning | read by |\n|---|---|---|---|---|\n", section.name, section.help);
    for (const Field& field : config_fields()) {
      if (field.key.substr(0, field.key.find('.')) != section.name) continue;
      std::string type = type_of(field);
      for (size_t at = 0; (at = type.find('|', at)) != std::string::npos; at += 2) type.insert(at, "\\");
      text += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", field.key.substr(section.name.size() + 1), type, field.default_text,
                          meaning(field), read_by(field));
    }
  }
  return text;
}

}  // namespace dinoxx
