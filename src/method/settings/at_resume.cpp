#include "at_resume.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "config/config_fields.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/gram_config.hpp"
#include "method/method.hpp"
#include "optim/init_config.hpp"
#include "optim/optim_config.hpp"
#include "resolve.hpp"
#include "unread_keys.hpp"

namespace dinoxx {
namespace {

// Whether the value in `given` is the program's to choose. Besides "auto" that is a number that stands for it, and a chosen value that was
// read back from a run's config.cfg.
bool is_open(const Field& field, const Config& given, const SavedSettings& saved) {
  const std::string text = field.get(given);
  if (text == "auto") return true;
  if (!saved.chosen) return field.key == "mask.group_size" && text == field.default_text;
  return saved.chosen->contains(field.key) && (text == field.default_text || text == field.get(saved.config));
}

std::string change(const Field& field, const Config& before, const Config& now) {
  return fmt::format("{} was {} and is {}", field.key, field.get(before), field.get(now));
}

// Which tensors a training holds beside the networks'.
struct StateParts {
  std::string optimizer;
  int64_t lora_rank = 0;
  bool centre = false, patch_centre = false, gram = false;
  bool operator==(const StateParts&) const = default;
};
StateParts state_parts(const Config& resolved) {
  const MethodSpec spec = make_method(resolved);
  return {resolved.optim->name, resolved.init->lora_rank, spec.centre, spec.patch_centre, spec.keeps_gram_network()};
}

bool is_duration(const Field& field) {
  return field.type.starts_with("duration");
}

// Steps of one batch are no other length than as many images with another.
bool same_length(const Field& field, const Config& before, const Config& now) {
  if (!is_duration(field) || field.get(before) == "auto" || field.get(now) == "auto") return false;
  const auto images = [&](const Config& config) -> std::optional<double> {
    const Duration length = Duration::parse(field.get(config));
    if (length.unit == Duration::Unit::kEpochs) return std::nullopt;
    return length.value * (length.unit == Duration::Unit::kSteps ? static_cast<double>(train_batch_size(config)) : 1);
  };
  return images(before) && images(before) == images(now);
}

std::string samples_text(int64_t steps, int64_t batch) {
  return Duration{static_cast<double>(steps * batch), Duration::Unit::kSamples}.text();
}

// The lengths in steps that count in a training: of what was kept in images, of what was given a question.
void keep_images(Continued& run, const SavedSettings& saved) {
  const int64_t before = train_batch_size(saved.config), now = train_batch_size(run.config);
  if (before == now) return;
  std::vector<std::string> keys, found, images, steps;
  for (const Field& field : config_fields()) {
    if (!field.training || !is_duration(field) || field.get(run.config) == "auto" || why_unread(field, saved.config)) continue;
    const Duration length = Duration::parse(field.get(run.config));
    if (length.unit != Duration::Unit::kSteps || length.value == 0) continue;
    const auto count = static_cast<int64_t>(length.value);
    if (run.chosen.contains(field.key)) {
      field.set(run.config, samples_text(count, before));
      continue;
    }
    keys.push_back(field.key);
    found.push_back(length.text());
    images.push_back(fmt::format("--{} {}", field.key, samples_text(count, before)));
    steps.push_back(samples_text(count, now));
  }
  if (keys.empty()) return;
  fail_usage(fmt::format("{}", fmt::join(keys, ", ")),
             fmt::format("a length in epochs or images where train.batch_size was {} and is {}", before, now),
             fmt::format("{}", fmt::join(found, ", ")),
             fmt::format("{} means as many images as before; as many steps are {}", fmt::join(images, " "), fmt::join(steps, ", ")));
}

bool accepted(const Config& config, const std::function<void(const Config&)>& fits) {
  try {
    fits(config);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

}  // namespace

std::set<std::string> chosen_keys(const Config& given, const Config& resolved) {
  std::set<std::string> keys;
  for (const Field& field : config_fields())
    if (field.training && field.get(given) != field.get(resolved)) keys.insert(field.key);
  return keys;
}

std::vector<std::string> other_network(const SavedSettings& saved, const Config& now) {
  std::vector<std::string> found;
  for (const Field& field : config_fields())
    if ((field.shapes_network || field.other_function) && !is_open(field, now, saved) && !why_unread(field, saved.config) &&
        field.get(saved.config) != field.get(now))
      found.push_back(change(field, saved.config, now));
  return found;
}

std::vector<std::string> other_state(const Config& before, const Config& now) {
  const StateParts parts = state_parts(before);
  if (parts == state_parts(now)) return {};
  std::vector<std::string> all, alone;
  for (const Field& field : config_fields()) {
    if (!field.training || field.get(before) == field.get(now)) continue;
    all.push_back(change(field, before, now));
    Config other = before;
    field.set(other, field.get(now));
    try {
      if (state_parts(other) != parts) alone.push_back(all.back());
    } catch (const UsageError&) {  // not beside the other values
    }
  }
  return alone.empty() ? all : alone;
}

std::vector<std::string> read_differences(const Config& before, const Config& now) {
  std::vector<std::string> found;
  for (const Field& field : config_fields())
    if (field.training && field.key != "model.init_from" && field.key != "teacher.distill" && field.get(before) != field.get(now) &&
        !same_length(field, before, now) && !(why_unread(field, before) && why_unread(field, now)))
      found.push_back(change(field, before, now));
  return found;
}

Continued continued(const SavedSettings& saved, const Config& given, const std::function<void(const Config&)>& fits) {
  Continued run{given, {}, {}};
  for (const Field& field : config_fields()) {
    if (!field.training || !is_open(field, given, saved) || why_unread(field, saved.config)) continue;
    field.set(run.config, field.get(saved.config));
    run.chosen.insert(field.key);
  }
  keep_images(run, saved);
  if (accepted(run.config, fits)) return run;
  // the values that stand in the way: one if that is enough, else all of them
  const auto open = [&](Config& config, const std::string& key) {
    for (const Field& field : config_fields())
      if (field.key == key) field.set(config, field.default_text);
  };
  std::set<std::string> stale;
  for (const std::string& key : run.chosen) {
    Config other = run.config;
    open(other, key);
    if (!accepted(other, fits)) continue;
    stale = {key};
    break;
  }
  if (stale.empty()) stale = run.chosen;
  for (const std::string& key : stale) {
    run.renewed.push_back(fmt::format("{} of the checkpoint does not fit any more and is chosen anew", key));
    open(run.config, key);
    run.chosen.erase(key);
  }
  return run;
}

}  // namespace dinoxx
