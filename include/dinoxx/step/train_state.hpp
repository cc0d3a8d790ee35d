#pragma once
#include "dinoxx/method/method.hpp"
#include "dinoxx/method/network.hpp"
#include "dinoxx/optim/adamw.hpp"
#include "dinoxx/parallel/param_layout.hpp"
#include "dinoxx/step/build.hpp"

namespace dinoxx {

/// Everything that a step changes, and so everything that a checkpoint holds.
struct TrainState {
  /// Student and teacher with equal weights, a function of the seed, on `device`. `compute`: float32, bfloat16 (masters float32) or, for
  /// tests, float64.
  TrainState(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device = at::kCPU);
  TrainState(const TrainState&) = delete;

  Network student, teacher;
  NamedTensors student_buffers, teacher_buffers;  ///< running statistics; empty for most networks
  ParamLayout layout;
  FlatState student_flat, teacher_flat;
  AdamW optimizer;
  Centre centre;
  int64_t step = 0;       ///< steps done
  uint64_t position = 0;  ///< images seen by all ranks together; the next batch begins here
};

}  // namespace dinoxx
