#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "comm/agree.hpp"
#include "config/config.hpp"
#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "method/network.hpp"

namespace dinoxx {

/// Hands the teacher to evaluation and gives back what goes into metrics.jsonl. Collective; must change nothing that training sees. It is
/// called under a StopScope, and fails soon on all ranks when that says so on one.
using EvalHook = std::function<nlohmann::json(const Network& teacher, int64_t step)>;
/// Made once at start-up, when the data is open and the configuration resolved. May return an empty hook.
using EvalHookFactory = std::function<EvalHook(std::shared_ptr<const Dataset> dataset, const Config& resolved)>;

/// What a run is in a job that distils several students at once (train/students.hpp).
struct JobPart {
  std::string student;                             ///< its name
  int number = 0;                                  ///< among the students
  std::vector<int> ranks;                          ///< of each student
  std::shared_ptr<Communicator> control, teacher;  ///< over all ranks of the job, for tensors on the CPU and on the networks' device
};

/// An error that all ranks of the job throw, those of its other students too.
class JobError : public AgreedError {
 public:
  using AgreedError::AgreedError;
};

/// One communicator for each kind of traffic, so that their order cannot cross: `control` for tensors on the CPU, the others for tensors on
/// the networks' device.
struct TrainComms {
  std::shared_ptr<Communicator> control, gradients, statistics;
  std::string node;            ///< the name of this rank's
  std::optional<JobPart> job;  ///< where this run is one of several in a job; the three above are then its own
};

struct TrainOptions {
  Config config;                ///< not resolved yet
  std::set<std::string> typed;  ///< keys of the command line: they hold against what model.init_from says
  std::filesystem::path data, out;
  std::string resume = "auto";   ///< "auto", "strict", "never" or a checkpoint folder; empty: from the start, whatever is there
  bool check = false;            ///< start-up and a step or two, then say what the run will take; leaves nothing behind
  double max_seconds = 0;        ///< of this process; 0: no limit
  at::Device device = at::kCPU;  ///< of the networks
  int cores = 1;                 ///< this rank's share of the machine
  std::string command_line;
  nlohmann::json build;  ///< versions, for the run's records
  EvalHookFactory make_eval_hook;
  /// Asked before anything takes memory of a GPU of so many bytes; `shards` of the `ranks` ranks share the state. UsageError: it cannot be
  /// enough; else a warning, or nothing. May be empty.
  std::function<std::string(const Config& resolved, int64_t ranks, int64_t shards, double memory)> room_on_gpu;
  std::function<const char*()> stop_signal = [] { return static_cast<const char*>(nullptr); };  ///< name of the signal that asked to stop
};

/// A training run from start-up to its end: kDone, or kStopped when it was asked to stop and has saved. Collective. Errors on one rank
/// alone leave the others waiting: the caller must abort them (MpiRuntime::abort).
ExitCode train(const TrainOptions& options, const TrainComms& comms);

}  // namespace dinoxx
