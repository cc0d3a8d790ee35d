#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/named_tensor.hpp"
#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// Batch normalisation (Ioffe & Szegedy 2015) over the rows and positions of all ranks of a group. Without a group, of this rank alone.
///
/// Threads: forward and backward both call the group's collectives. Backward of CPU tensors runs on the thread that called backward(), so
/// that a group over MPI is used from MPI's thread alone; backward of GPU tensors runs on the autograd engine's device thread, where NCCL
/// may be called and MPI may not (the MPI back end takes CPU tensors only, so the two cannot meet). Give statistics a group of their own:
/// gradient buckets are all-reduced at the same time, and their order must not cross (parallel/gradient_sync.hpp).
class BatchNorm {
 public:
  /// Parameters are NaN until they are filled; the running statistics begin as mean 0 and variance 1, in float32 (float64 for float64).
  BatchNorm(int64_t channels, at::ScalarType dtype, double eps = 1e-5, double momentum = 0.1);

  /// Appends <prefix>weight and <prefix>bias, and <prefix>running_mean, running_var and num_batches_tracked (int64).
  void append_to(const std::string& prefix, NamedTensors& parameters, NamedTensors& buffers) const;

  /// nullptr: this rank alone. A collective decision: all ranks of the group, or none.
  void set_group(std::shared_ptr<Communicator> group) { group_ = std::move(group); }

  /// x [B, C] or [B, C, H, W], B >= 1 on every rank (batches may differ). training: normalises with the batch's mean and biased variance
  /// and keeps both for commit_statistics(); else with the running statistics. Statistics in float32 at least. Error when the batch of all
  /// ranks has one value per channel.
  at::Tensor forward(const at::Tensor& x, bool training) const;
  /// relu(forward(x) + residual), in fewer passes over memory on a CPU. residual: as x, or undefined.
  at::Tensor forward_relu(const at::Tensor& x, bool training, const at::Tensor& residual = {}) const;

  /// running = (1 - momentum) running + momentum batch for each training forward since the last commit, in their order, with the unbiased
  /// variance (as torch.nn.BatchNorm2d does at once). Apart from forward, because a step whose loss is not finite must leave no trace.
  void commit_statistics();
  void discard_statistics() { pending_.clear(); }
  size_t pending_statistics() const { return pending_.size(); }

 private:
  at::Tensor run(const at::Tensor& x, bool training, const at::Tensor& residual, bool relu) const;

  struct Pending {
    at::Tensor mean, unbiased_variance;  // [C], float64; on a GPU the type of the running statistics
  };

  double eps_, momentum_;
  std::shared_ptr<Communicator> group_;
  at::Tensor weight_, bias_, running_mean_, running_var_, batches_;
  mutable std::vector<Pending> pending_;  // the one trace of a forward, which is const for all else
};

}  // namespace dinoxx
