#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

namespace dinoxx {

/// What all_reduce makes of the values of all ranks.
enum class ReduceOp {
  kSum,  ///< of bfloat16: in float32, rounded once
  kMax,
  kMin,
  kSumOnWire,  ///< kSum, but bfloat16 may travel as such and be rounded at every hop: half the bytes (NCCL; elsewhere as kSum)
};

/// A collective under way. Destroying an unfinished Work waits for it.
class Work {
 public:
  virtual ~Work() = default;
  /// Blocks until the result is in the output tensor (on a GPU: until later work of the current stream may use it).
  virtual void wait() = 0;
  /// Drives progress; true when finished. Never blocks.
  virtual bool test() = 0;
};

/// Collectives on contiguous tensors. Every rank of the group calls the same operations in the same order; the result of a reduction is
/// bit-identical on all ranks (bf16 accumulates in float32 and is rounded once). Works (async) keep their tensors alive. Errors name the
/// operation and the rank. Maximum and minimum of NaN are unspecified. Operations of one communicator are matched in their order of
/// posting; use communicators of their own for traffic whose order may cross. Back ends: self (one rank), mpi (CPU tensors: f32, f64, bf16,
/// i32, i64, u8), nccl (GPU tensors), thread (ranks as threads, for tests).
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;          ///< of this process or thread in the group, from 0
  virtual int size() const = 0;          ///< ranks of the group
  virtual std::string name() const = 0;  ///< "self", "mpi", "nccl", "thread"

  virtual std::unique_ptr<Work> all_reduce(at::Tensor tensor, ReduceOp op) = 0;           ///< in place
  virtual std::unique_ptr<Work> reduce_scatter(at::Tensor output, at::Tensor input) = 0;  ///< sum; input.numel() == size() * output.numel()
  virtual std::unique_ptr<Work> all_gather(at::Tensor output, at::Tensor input) = 0;  ///< output.numel() == size() * input.numel(), by rank
  virtual std::unique_ptr<Work> broadcast(at::Tensor tensor, int root) = 0;           ///< in place
  virtual void barrier() = 0;
  /// Ranks of equal colour form a new group, ordered by key then rank. Collective.
  virtual std::shared_ptr<Communicator> split(int color, int key) = 0;
};

}  // namespace dinoxx
