#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <span>

#include "data_pipeline/loader/loader.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "memory_dataset.hpp"
#include "method/guides/guides.hpp"
#include "parallel/gradient_sync.hpp"
#include "step/train_step.hpp"
#include "synthetic_images.hpp"
#include "tiny_run.hpp"
#include "train/training_config.hpp"

namespace dinoxx::testing_support {

inline std::shared_ptr<const Dataset> tiny_dataset() {
  auto dataset = std::make_shared<MemoryDataset>();
  for (int i = 0; i < 60; ++i) dataset->add_image(Split::kTrain, i % 3, class_image(i % 3, static_cast<uint64_t>(i), 24, 20));
  return dataset;
}

// Made-up labels of images, of which some are not known; of one output numbers.
inline at::Tensor guide_targets(std::span<const uint64_t> ids, int outputs) {
  at::Tensor targets = at::empty({static_cast<int64_t>(ids.size())}, at::kDouble);
  for (size_t i = 0; i < ids.size(); ++i) {
    const double number = ids[i] % 5 == 0 ? std::nan("") : std::sin(static_cast<double>(ids[i]));
    targets[static_cast<int64_t>(i)] = outputs == 1 ? number : static_cast<double>(ids[i] % static_cast<uint64_t>(outputs + 1)) - 1;
  }
  return targets.to(outputs == 1 ? at::kFloat : at::kLong);
}

// A run on the ranks of one communicator.
class TinyRun {
 public:
  // looks_alone: losses and batch norms look at a rank's own images, not at those of all.
  TinyRun(const Config& config, std::shared_ptr<Communicator> comm, std::shared_ptr<Communicator> statistics, at::ScalarType type,
          const SyncGroups& groups = {}, bool looks_alone = false)
      : config_(config),
        spec_(make_method(config)),
        schedules_(config, 60),
        statistics_(std::move(statistics)),
        batch_(looks_alone ? make_self_communicator() : statistics_->split(0, statistics_->rank())),
        state(config, spec_, type, at::kCPU, groups),
        sync_(groups.fellows ? groups.fellows : comm, state.layout, state.student.parameters(), state.student_flat),
        loader_(tiny_dataset(), tiny_dataset()->ids(Split::kTrain), spec_.plans(), loading(*comm)) {
    const std::shared_ptr<Communicator> group = looks_alone ? make_self_communicator() : statistics_->split(0, statistics_->rank());
    state.student.set_statistics_group(group);
    state.teacher.set_statistics_group(group);
    if (groups.columns) prototypes_ = std::make_unique<PrototypeExchange>(groups);
    loader_.start(0);
  }
  // The loader's next batch as step input; `batch` keeps a copy of the pixels for comparisons.
  StepInput next() {
    const Batch& batch = loader_.next();
    StepInput input;
    const auto slots = static_cast<int64_t>(batch.positions.size());
    for (const CropGroup& group : batch.groups)
      input.crops.push_back(at::from_blob(group.pixels.data(), {group.views * slots, 3, group.size, group.size}, at::kFloat).clone());
    input.positions = batch.positions;
    input.seed = 5;
    input.masked = draw_masks(spec_, batch.groups.front().size, input.positions, input.seed);
    for (const GuideColumn& column : guide_columns(config_))
      input.guides.push_back(guide_targets(batch.sample_ids, column.number ? 1 : static_cast<int>(3 + input.guides.size())));
    input.global_batch = config_.train->batch_size;
    input.parts = static_cast<int>(config_.train->accumulate);
    return input;
  }
  StepMetrics step(const StepInput& input, bool freeze = false) {
    StepValues values = schedules_.at(state.step, state.position);
    values.freeze_last_layer = freeze;
    return train_step(state, spec_, input, values, sync_, {*statistics_, *batch_, teacher.get(), prototypes_.get()});
  }

  const std::vector<BucketEvent>& events() const { return sync_.events(); }

 private:
  LoaderConfig loading(const Communicator& comm) const {
    LoaderConfig c;
    c.seed = 5;
    c.global_batch = static_cast<int>(config_.train->batch_size);
    c.rank = comm.rank();
    c.world_size = comm.size();
    return c;
  }
  Config config_;
  MethodSpec spec_;
  Schedules schedules_;
  std::shared_ptr<Communicator> statistics_, batch_;

 public:
  TrainState state;
  std::unique_ptr<SharedTeacher> teacher;  ///< where several students share one

 private:
  std::unique_ptr<PrototypeExchange> prototypes_;
  GradientSync sync_;
  Loader loader_;
};

}  // namespace dinoxx::testing_support
