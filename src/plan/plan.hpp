#pragma once
#include <optional>
#include <string>
#include <vector>

#include "io.hpp"
#include "step_time.hpp"

namespace dinoxx::plan {

/// What is asked for.
struct Request {
  std::string config;  ///< as the user named it
  GpuFacts gpu;
  int64_t nodes = 1, per_node = 1;
  uint64_t images = 0;                ///< of the training set
  std::optional<double> image_bytes;  ///< of an encoded image, mean
  std::optional<double> mfu;
  std::optional<double> images_per_core;  ///< that one core loads in a second
  int64_t cores_per_node = 0;             ///< 0: as many as loading takes
  double write_rate = 2e9;                ///< bytes/s of the file system, of all ranks together
  double node_mtbf = 1000 * 3600.0;       ///< seconds between failures of one node, mean
  double restart = 300;                   ///< seconds from a failure to the next step
  double price = 0;                       ///< of one GPU for an hour; 0: not given
  std::optional<Policy> policy;           ///< absent: the plan chooses
  std::optional<bool> shard_in_node;      ///< shards within each node, or over all ranks; absent: the plan chooses
};

/// One way to run it.
struct Estimate {
  Spread spread;
  Memory memory;
  StepTime time;
  bool fits = false;
  std::string refused;  ///< why the method does not take this batch on so many ranks; empty: it does
  double images_per_second() const;
};

struct Loading {
  double seconds_per_image = 0;  ///< one core
  double image_bytes = 0;
  double cores = 0;      ///< of all nodes, to keep up with the step
  double read_rate = 0;  ///< bytes/s from the file system
};

struct Saving {
  double bytes = 0, seconds = 0;
  double mtbf = 0;      ///< of the whole job, seconds
  double interval = 0;  ///< seconds between checkpoints, at the least cost
  double steps = 0;     ///< the same in steps
  double lost = 0;      ///< share of the time that saving, failures and work done again take
};

struct RunTotals {
  int64_t steps = 0;
  double seconds = 0;  ///< with what Saving loses
  double gpu_hours = 0;
  double price = 0;
};

/// A number of GPUs with the way to run that is chosen for it.
struct Row {
  int64_t gpus = 1;
  Estimate estimate;
  double cores_per_gpu = 0;
  RunTotals totals;
};

struct Plan {
  Request request;
  Model model;
  std::vector<Estimate> choices;    ///< of the requested GPUs: what ways() weighs, first of all as configured
  size_t chosen = 0;                ///< of these
  int64_t largest_batch = 0;        ///< images of a GPU at once that fit as chosen; 0: none
  std::vector<std::string> advice;  ///< what is proposed and why, in sentences
  Loading loading;
  Saving saving;
  RunTotals totals;
  std::vector<Row> scaling;  ///< from 1 GPU to 4,096
  const Estimate& best() const { return choices.at(chosen); }
};

inline constexpr int64_t kMostGpus = 4096;

/// UsageError where the request makes no sense: no nodes, a batch that the ranks do not divide, rates that are none.
void check_request(const Config& config, const Request& request);
/// The plan of a resolved configuration. UsageError as check_request, and for what the method refuses.
Plan make_plan(const Config& resolved, const Request& request, const std::string& teacher_arch = "");

}  // namespace dinoxx::plan
