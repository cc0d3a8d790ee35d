#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "checkpoint/train_state_io.hpp"
#include "data_pipeline/loader/loader.hpp"
#include "ops/pixels.hpp"
#include "output/run_log.hpp"
#include "step/train_step.hpp"
#include "train.hpp"
#include "train/start/startup.hpp"

namespace dinoxx {

/// Rank 0 of the run: it has the run folder.
bool is_chief(const TrainComms& comms);
/// Over all students of the job, where the run is one of several.
Communicator& everyone(const TrainComms& comms);
/// on_all_ranks over everyone: what throws on a rank ends the job with a JobError on all.
void on_everyone(const TrainComms& comms, const std::function<void()>& work);

/// What is trained, and with what: made at start-up, the same on every rank but for data. The loop and its parts are handed what they need
/// of it.
struct Training {
  /// Opens the data, resolves the configuration and makes the networks; sets the number of threads. Collective; errors are agreed.
  Training(const TrainOptions& options, const TrainComms& comms);
  Training(const Training&) = delete;

  /// One batch of the loader as the step takes it. On a CPU its pixels are views, valid as long as the batch.
  StepInput input_of(const Batch& batch);
  /// Begins to bring the pixels of a batch to the GPU, for a call of input_of to come. Nothing on a CPU.
  void copy_ahead(const Batch& batch);
  /// One step, stages 2 to 6 of the loop. Collective.
  StepMetrics step(const StepInput& input, const StepValues& values, GradientSync& sync);
  /// How this rank reads the data.
  LoaderConfig loading() const;
  /// Steps of this batch that the images seen are, a part counting as one: where the schedules stand. Other than state.step after a change
  /// of the batch.
  int64_t schedule_step() const;
  /// The count of steps at which the run ends.
  int64_t total_steps() const;

  TrainComms comms;
  Origin origin;
  Inputs inputs;
  const Config& config;  // of inputs
  MethodSpec spec;
  Schedules schedules;
  SyncGroups groups;
  std::string room_warning;  // of the GPU's memory; empty: none
  TrainState state;
  RunFacts facts;
  std::shared_ptr<Communicator> batch_comm;               // for losses over all ranks
  std::unique_ptr<SharedTeacher> shared_teacher;          // of several students in one job
  std::unique_ptr<PrototypeExchange> prototype_exchange;  // where ranks share the prototypes

 private:
  struct Ahead {
    uint64_t first_position = 0;
    std::vector<ops::PixelCopy> groups;
  };
  Ahead copies_of(const Batch& batch) const;
  std::optional<Ahead> ahead_;
};

/// The frozen teacher of a distillation, from its file. Collective.
void load_teacher(Training& training, const TrainOptions& options, RunLog& log);

}  // namespace dinoxx
