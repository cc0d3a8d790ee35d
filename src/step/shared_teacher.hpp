#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "method/method.hpp"

namespace dinoxx {

/// Who runs the teacher for which image of a step when several students train in one job: the rank for each slot of the global batch.
/// Student k has ranks[k] consecutive ranks of the job, and its rank r holds the slots [r B / ranks[k], (r + 1) B / ranks[k]); each rank of
/// the job gets B / W slots among those that it holds, so that nobody loads an image for the teacher alone. UsageError when W, or the ranks
/// of a student, do not divide B.
std::vector<int> teacher_ranks(int64_t batch, const std::vector<int>& ranks);

/// The frozen teacher of several students in one job (DINOv3's multi-student distillation, dino_family.md 3.7): it sees each image of a
/// step once, on one rank; what stands in front of its prototypes travels to the ranks that hold the image, and they apply the last layer.
/// All students have the same batches, crops and masks. Memory: the rows of the global batch, [G B, D + bottleneck] and, padded to the rank
/// with most of them, of its masked patches.
class SharedTeacher {
 public:
  /// `job`: over all ranks of the job, for tensors on the networks' device. This rank's student is the one that its number falls to.
  SharedTeacher(std::shared_ptr<Communicator> job, const std::vector<int>& ranks, int64_t batch);

  struct Input {
    at::Tensor globals;  ///< [G B', C, S, S], the teacher's views of this rank's B' images
    at::Tensor masked;   ///< [G B', N] bool on the CPU, where patch logits are wanted; undefined: none are
    bool wants_stop = false;
  };
  struct Output {
    ForwardOutput teacher;  ///< as the teacher's forward of this rank's images gives it: features, logits, patch logits
    bool stop = false;      ///< some rank of the job wants to stop: the same answer on all
  };
  /// Collective over the job: all ranks call it once in each step.
  Output forward(const Network& teacher, const Input& input);

  int64_t images() const { return images_; }  ///< for which this rank has run the teacher so far

 private:
  std::shared_ptr<Communicator> job_;
  int64_t slots_;             // of this rank
  int64_t share_;             // of them that it runs the teacher for
  at::Tensor mine_;           // [share] int64, local slots
  std::vector<int64_t> row_;  // of each local slot: rank * share + place in that rank's share
  int64_t images_ = 0;
};

}  // namespace dinoxx
