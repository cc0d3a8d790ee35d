#pragma once
#include <string>
#include <utility>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "parallel/gradient_sync.hpp"
#include "prototype_exchange.hpp"
#include "shared_teacher.hpp"
#include "train_state.hpp"

namespace dinoxx {

/// This rank's part of one batch.
struct StepInput {
  std::vector<at::Tensor> crops;    ///< per size in view order [views * B, C, S, S], rows [view][slot]
  std::vector<uint64_t> positions;  ///< global position per slot
  at::Tensor masked;                ///< [G B, N] bool, for methods with masks (draw_masks)
  std::vector<at::Tensor>
      guides;  ///< of each column of [guide] [B], in host memory: classes int64, -1 not known; numbers float32, NaN not known
  uint64_t seed = 0;
  int64_t global_batch = 0;
  bool wants_stop = false;  ///< this rank's vote to stop after this step
  bool monitor = false;     ///< measure the signs of collapse too; equal on all ranks
  int parts = 1;            ///< in which the rank's images go through the networks, one after the other; divides their number
};

struct StepMetrics {
  double loss = 0;              ///< mean over all ranks
  bool finite = true;           ///< agreed by all ranks; false: nothing was changed but the step count and the position
  std::vector<int> bad_ranks;   ///< whose loss was not finite (NaN or infinity)
  std::string bad_term;         ///< the first of this rank's terms that was none
  std::string bad_parameter;    ///< where every loss was a number: the first, in the order of backward, whose gradient is none
  bool stop = false;            ///< some rank voted to stop, of all students where they share a teacher
  double grad_norm = 0;         ///< of all gradients that are applied (not a frozen last layer), before clipping
  double overlapped_share = 0;  ///< of gradient bytes, see GradientSync
  std::vector<std::pair<std::string, double>> terms;  ///< the loss terms' own figures, means over all ranks
};

/// Communicators of one step, each for an order of calls of its own, for tensors on the networks' device.
struct StepComms {
  Communicator& statistics;          ///< figures, votes and centres
  Communicator& batch;               ///< what makes one batch of the ranks' parts inside the loss: Sinkhorn-Knopp, KoLeo, NT-Xent
  SharedTeacher* teacher = nullptr;  ///< who runs the frozen teacher where several students of one job share it; the vote to stop is theirs
  PrototypeExchange* prototypes = nullptr;  ///< where ranks share the heads' prototypes
};

/// The masks of a batch with global crops of this size, pixels: a function of size, seed and positions. Undefined for methods without.
at::Tensor draw_masks(const MethodSpec& spec, int global_size, std::span<const uint64_t> positions, uint64_t seed);

/// One step of any method: teacher forward, student forward, loss, backward with overlapped gradient averaging, then, once all ranks have
/// agreed that the numbers are finite: clip, optimizer, publish, teacher average, centres, running statistics. The gradient is that of the
/// mean over the global batch. Of a step in n parts the loss is the mean of the parts' losses: what W ranks compute with n parts, n W ranks
/// compute with one, but for losses and batch norms over all ranks, which see one part of each.
StepMetrics train_step(TrainState& state, const MethodSpec& spec, const StepInput& input, const StepValues& values, GradientSync& sync,
                       const StepComms& comms);

}  // namespace dinoxx
