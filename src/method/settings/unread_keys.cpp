#include "unread_keys.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "config/train_keys.hpp"
#include "data_pipeline/augment/view_profiles.hpp"
#include "dinoxx/base/error.hpp"
#include "method/methods.hpp"
#include "resolve.hpp"

namespace dinoxx {
namespace {

// "gram.*" stands for all keys that begin so.
bool matches(const std::string& pattern, const std::string& key) {
  return pattern.ends_with('*') ? key.starts_with(pattern.substr(0, pattern.size() - 1)) : key == pattern;
}

// A file that a run has saved has a value for (nearly) every key whose default is "auto", one written by hand for few: files of earlier
// releases may lack some.
bool was_filled_in(const Config& config) {
  int open = 0, automatic = 0;
  for (const Field& field : config_fields()) {
    if (field.default_text != "auto") continue;
    ++automatic;
    open += field.get(config) == "auto";
  }
  return 2 * open < automatic;
}

std::vector<std::string> readers(const Field& field) {
  std::vector<std::string> names;
  for (const Method& method : methods())
    if (reads(method, field)) names.push_back(method.name);
  return names;
}

}  // namespace

bool reads(const Method& method, const Field& field) {
  return !field.of_method ||
         std::any_of(method.reads.begin(), method.reads.end(), [&](const std::string& pattern) { return matches(pattern, field.key); });
}

std::optional<std::string> why_unread(const Field& field, const Config& resolved) {
  const Method& method = find_method(train_method(resolved));
  if (!reads(method, field)) return fmt::format("train.method = {}: it is read by {}", method.name, fmt::join(readers(field), ", "));
  for (const Condition& condition : field.read_where)
    if (!condition.holds(resolved)) return "this run: it is read where " + condition.text;
  return std::nullopt;
}

std::vector<UnreadKey> unread_keys(const Config& given, uint64_t images, int cores, int world_size) {
  const Config resolved = resolve_unchecked(given, images, cores, world_size);
  const bool filled_in = was_filled_in(given);
  std::vector<UnreadKey> keys;
  for (const Field& field : config_fields()) {
    if (field.get(given) == field.default_text) continue;
    const std::optional<std::string> why = why_unread(field, resolved);
    if (!why) continue;
    Config without = given;
    field.set(without, field.default_text);
    const std::string would_be = field.get(resolve_unchecked(without, images, cores, world_size));
    const bool of_itself = would_be != field.default_text;  // "auto", or a number that stands for it
    if (would_be != field.get(given) && !(filled_in && of_itself)) keys.push_back({&field, *why});
  }
  return keys;
}

void refuse(const UnreadKey& key, const Config& given, const std::string& whose) {
  fail_usage(whose + key.field->key, "no value for " + key.why, key.field->get(given), "Leave it out, or change what it depends on");
}

void refuse_unread_keys(const Config& given, uint64_t images, int cores, int world_size) {
  const std::vector<UnreadKey> keys = unread_keys(given, images, cores, world_size);
  if (!keys.empty()) refuse(keys.front(), given);
}

void check_names(const std::vector<Setting>& settings) {
  for (const Setting& setting : settings) {
    const auto check = [&](const auto& find) {
      try {
        find(setting.value);
      } catch (const UsageError& error) {
        throw UsageError(fmt::format("{}: {}", setting.where, error.what()));
      }
    };
    if (setting.key == "train.method") check([](const std::string& name) { find_method(name); });
    if (setting.key == "views.profile" && setting.value != "auto") check([](const std::string& name) { profile_summary(name); });
  }
}

}  // namespace dinoxx
