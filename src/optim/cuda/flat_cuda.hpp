// Clipping, SGD and LARS over flat buffers on a GPU, a few launches for all segments. A build without CUDA links functions that say so.
#pragma once
#include <functional>
#include <vector>

#include "optim/clip.hpp"
#include "optim/lars_rule.hpp"
#include "parallel/flat_state.hpp"

namespace dinoxx::optim_detail {

struct ClipSegment {
  int64_t begin = 0, numel = 0;  ///< elements of the flat buffers
  int group = 0;                 ///< whose norms are taken together
};
/// What moves, in the order of the groups.
std::vector<ClipSegment> clip_segments(const ParamLayout& layout, ClipBy by, const std::vector<SegmentRule>& rules);
/// `segments` by group, from 0. squares[group]: the group's sum of squares, from which its segments are scaled by
/// min(1, max_norm / (norm + 1e-6)); max_norm <= 0: none. grad float32, squares [groups or more] float64. over_shards adds up the squares
/// of all ranks that share the gradient, in place; empty where this rank has all of it.
using SumOverShards = std::function<void(const at::Tensor&)>;
void clip_cuda(const std::vector<ClipSegment>& segments, double max_norm, const at::Tensor& grad, const at::Tensor& squares,
               const SumOverShards& over_shards = {});

struct SgdSegment {
  int64_t begin = 0, numel = 0;
  double lr = 0, weight_decay = 0;
  bool adapts = false;  ///< by lars
};
/// What moves. with_lars: what does not adapt does not decay.
std::vector<SgdSegment> sgd_segments(const ParamLayout& layout, double lr, double weight_decay, const std::vector<SegmentRule>& rules,
                                     bool with_lars);
/// One step; publishes. lars: null where no segment adapts. float32 masters.
void sgd_cuda(const std::vector<SgdSegment>& segments, const LarsRule* lars, double momentum, FlatState& state, const at::Tensor& velocity);

}  // namespace dinoxx::optim_detail
