#include "startup.hpp"

#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "other_weights.hpp"
#include "train/training_config.hpp"

namespace dinoxx {

std::shared_ptr<const Dataset> open_dataset(const std::filesystem::path& data) {
  if (!std::filesystem::exists(data))
    fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", data.string()), "Pack the images first");
  return Dataset::open(data);
}

std::vector<uint64_t> training_ids(const Dataset& dataset, const std::filesystem::path& data) {
  std::vector<uint64_t> ids = dataset.ids(Split::kTrain);
  if (ids.empty())
    fail_usage(data.string(), "images in the split \"train\"", "none", "Pack images into a train folder, or without split folders");
  return ids;
}

Inputs open_inputs(const TrainOptions& options, Communicator& comm) {
  Inputs inputs;
  on_all_ranks(comm, [&] {
    inputs.dataset = open_dataset(options.data);
    inputs.ids = training_ids(*inputs.dataset, options.data);
    Config config = options.config;
    if (find_method(config.train->method).teacher == TeacherPolicy::kFrozen && !config.teacher->distill.empty() &&
        !config.head->weight_norm)
      config.head->weight_norm = frozen_teacher_has_weight_norm(config.teacher->distill);
    refuse_unread_keys(config, inputs.ids.size(), options.cores, comm.size());
    inputs.config = resolve_config(config, inputs.ids.size(), options.cores, &inputs.notes, comm.size());
    if (inputs.config.train->batch_size % comm.size() != 0)
      fail_usage("train.batch_size", fmt::format("a multiple of the {} ranks", comm.size()),
                 std::to_string(inputs.config.train->batch_size),
                 fmt::format("Use {} or another number of ranks", (inputs.config.train->batch_size / comm.size() + 1) * comm.size()));
  });
  ranks_must_agree(comm, training_identity(inputs.config), "configuration");
  ranks_must_agree(comm, inputs.dataset->fingerprint(), "data set");
  ranks_must_agree(comm, options.build.dump(), "program");
  return inputs;
}

}  // namespace dinoxx
