#include "startup.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "base/machine.hpp"
#include "comm/agree.hpp"
#include "config/config_fields.hpp"
#include "config/train_keys.hpp"
#include "data_pipeline/labels/label_lists.hpp"
#include "data_pipeline/loader/balanced_sampler.hpp"
#include "data_pipeline/loader/data_config.hpp"
#include "dinoxx/base/error.hpp"
#include "follow_weights.hpp"
#include "method/methods.hpp"
#include "method/settings/at_resume.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "other_weights.hpp"
#include "step/build.hpp"

namespace dinoxx {

std::shared_ptr<const Dataset> open_dataset(const std::filesystem::path& data) {
  if (!std::filesystem::exists(data))
    fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", data.string()), "Pack the images first");
  return with_one_label(Dataset::open(data));
}

std::vector<uint64_t> training_ids(const Dataset& dataset, const std::filesystem::path& data) {
  std::vector<uint64_t> ids = dataset.ids(Split::kTrain);
  if (ids.empty())
    fail_usage(data.string(), "images in the split \"train\"", "none", "Pack images into a train folder, or without split folders");
  return ids;
}

namespace {

void refuse_uneven_batch(const Config& config, int64_t ranks) {
  const int64_t batch = train_batch_size(config), parts = train_accumulate(config), share = ranks * parts;
  if (batch % share == 0) return;
  const std::string of = parts > 1 ? fmt::format(" and {} parts (train.accumulate)", parts) : "";
  fail_usage("train.batch_size", fmt::format("a multiple of the {} ranks{}", ranks, of), std::to_string(batch),
             fmt::format("Use {} or another number of {}", (batch / share + 1) * share, parts > 1 ? "ranks or parts" : "ranks"));
}

// As given, with the checkpoint's values for what is open.
Config continued_config(const SavedRun& from, const Config& given, uint64_t images, int cores, int ranks, Inputs& inputs) {
  const auto fits = [&](const Config& config) {
    const Config resolved = resolve_config(config, images, cores, nullptr, ranks);
    const Schedules schedules(resolved, images);
    check_batch(make_method(resolved), train_images_at_once(resolved, ranks), ranks);
  };
  const Continued run = continued(from.settings, given, fits);
  std::vector<std::string> others;
  try {
    others = other_state(from.settings.config, resolve_unchecked(run.config, images, cores, ranks));
  } catch (const UsageError&) {  // values that do not go together: refused below
  }
  if (!others.empty()) refuse_other_run(from.folder, others);
  inputs.notes = run.renewed;
  inputs.chosen = run.chosen;
  return run.config;
}

// Values that a run without the checkpoint would have got.
void note_kept(const Config& given, const Config& resolved, uint64_t images, int cores, int ranks, Inputs& inputs) {
  const Config anew = resolve_unchecked(given, images, cores, ranks);
  for (const Field& field : config_fields())
    if (inputs.chosen.contains(field.key) && !why_unread(field, resolved) && field.get(anew) != field.get(resolved))
      inputs.notes.push_back(
          fmt::format("{} = {} (as in the checkpoint; a run that begins now gets {})", field.key, field.get(resolved), field.get(anew)));
}

// All keys but those of a rank's machine: also where results do not depend on one, ranks that differ in it would wait for each other in
// different collectives. The first that differs is named.
void configurations_must_agree(Communicator& comm, const Config& config) {
  std::string all;
  for (const Field& field : config_fields())
    if (!field.of_machine) all += fmt::format("{}={}\n", field.key, field.get(config));
  try {
    ranks_must_agree(comm, all, "configuration");
  } catch (const AgreedError&) {
    for (const Field& field : config_fields())
      if (!field.of_machine) ranks_must_agree(comm, field.get(config), fmt::format("configuration, {}", field.key));
    throw;
  }
}

}  // namespace

Inputs open_inputs(const TrainOptions& options, Communicator& comm, const Origin& origin) {
  Inputs inputs;
  on_all_ranks(comm, [&] {
    inputs.dataset = open_dataset(options.data);
    inputs.ids = training_ids(*inputs.dataset, options.data);
    Config config = options.config;
    const std::vector<std::string> followed = follow_weights(config, options.typed, origin.from ? &origin.from->settings.config : nullptr);
    if (const Method& method = find_method(train_method(config));
        method.teacher == TeacherPolicy::kFrozen && !config.teacher->distill.empty()) {
      if (method.bare_teacher && !config.head->out_dim) config.head->out_dim = frozen_teacher_width(config);
      if (!method.bare_teacher && !config.head->weight_norm) config.head->weight_norm = frozen_teacher_has_weight_norm(config);
    }
    inputs.guides = GuideTargets(guide_columns(config), *inputs.dataset, inputs.ids);
    set_guide_outputs(config, inputs.guides.outputs());
    if (origin.from)
      if (const auto others = other_network(origin.from->settings, config); !others.empty()) refuse_other_run(origin.from->folder, others);
    refuse_unread_keys(config, inputs.ids.size(), options.cores, comm.size());
    const Config given = config;
    if (origin.from) config = continued_config(*origin.from, given, inputs.ids.size(), options.cores, comm.size(), inputs);
    inputs.notes.insert(inputs.notes.end(), followed.begin(), followed.end());
    std::vector<std::string> notes;
    inputs.config = resolve_config(config, inputs.ids.size(), options.cores, &notes, comm.size());
    inputs.notes.insert(inputs.notes.end(), notes.begin(), notes.end());
    if (origin.from) note_kept(given, inputs.config, inputs.ids.size(), options.cores, comm.size(), inputs);
    inputs.chosen.merge(chosen_keys(options.config, inputs.config));
    refuse_uneven_batch(inputs.config, comm.size());
    if (const double balance = inputs.config.data->balance; balance > 0)  // refuses images without labels
      const BalancedSampler checked(labels_of(*inputs.dataset, inputs.ids), balance, 0);
  });
  configurations_must_agree(comm, inputs.config);
  ranks_must_agree(comm, inputs.dataset->fingerprint(), "data set");
  return inputs;
}

}  // namespace dinoxx
