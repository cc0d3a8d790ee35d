#include "clip.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "cuda/flat_cuda.hpp"
#include "dinoxx/base/error.hpp"
#include "pieces.hpp"

namespace dinoxx {
namespace {

using namespace optim_detail;

// By segment, from 0 in the order of the segments.
std::vector<int> groups_of(const ParamLayout& layout, ClipBy by) {
  std::vector<int> groups;
  std::map<std::string, int> modules;
  for (const Segment& segment : layout.segments)
    groups.push_back(by == ClipBy::kParameter
                         ? static_cast<int>(groups.size())
                         : modules.emplace(segment.name.substr(0, segment.name.find('.')), static_cast<int>(modules.size())).first->second);
  return groups;
}

double clip_and_read(const ParamLayout& layout, FlatState& state, double max_norm, ClipBy by, const std::vector<SegmentRule>& rules) {
  const at::Tensor squares = at::zeros({static_cast<int64_t>(layout.segments.size())}, state.grad.options().dtype(at::kDouble));
  clip_gradient(layout, state, max_norm, by, rules, squares);
  const at::Tensor read = squares.cpu();
  return gradient_norm({read.data_ptr<double>(), static_cast<size_t>(read.numel())});
}

}  // namespace

std::vector<ClipSegment> optim_detail::clip_segments(const ParamLayout& layout, ClipBy by, const std::vector<SegmentRule>& rules) {
  const std::vector<int> groups = groups_of(layout, by);
  std::vector<ClipSegment> segments;
  for (size_t s = 0; s < groups.size(); ++s)
    if (moves(layout.segments[s], rules[s])) segments.push_back({layout.segments[s].offset, layout.segments[s].numel, groups[s]});
  std::stable_sort(segments.begin(), segments.end(), [](const ClipSegment& a, const ClipSegment& b) { return a.group < b.group; });
  return segments;
}

void clip_gradient(const ParamLayout& layout, FlatState& state, double max_norm, ClipBy by, const std::vector<SegmentRule>& rules,
                   const at::Tensor& squares) {
  const char* const what = by == ClipBy::kParameter ? "clip_per_parameter" : "clip_per_module";
  at::NoGradGuard no_grad;
  require_type(state.grad, what);
  require_rules(layout, rules, what);
  if (squares.scalar_type() != at::kDouble || squares.numel() != static_cast<int64_t>(layout.segments.size()) ||
      squares.device() != state.grad.device())
    fail(what, "a float64 for each segment beside the gradient",
         fmt::format("{} {}", squares.numel(), c10::toString(squares.scalar_type())), "This is a defect of the program");
  if (state.grad.is_cuda()) {
    SumOverShards over_shards;
    if (state.shards) over_shards = [&](const at::Tensor& parts) { state.sum_over_shards(parts); };
    return clip_cuda(clip_segments(layout, by, rules), max_norm, state.grad, squares, over_shards);
  }
  const std::vector<double> of_segments = segment_squares(layout, state, state.grad, rules);
  std::copy(of_segments.begin(), of_segments.end(), squares.data_ptr<double>());
  if (max_norm <= 0) return;
  const std::vector<int> groups = groups_of(layout, by);
  std::vector<double> sums(groups.size(), 0.0);
  for (size_t s = 0; s < groups.size(); ++s) sums[static_cast<size_t>(groups[s])] += of_segments[s];
  for (size_t s = 0; s < groups.size(); ++s) {
    const Segment& segment = layout.segments[s];
    const double coefficient = max_norm / (std::sqrt(sums[static_cast<size_t>(groups[s])]) + 1e-6);
    if (moves(segment, rules[s]) && coefficient < 1) state.grad.narrow(0, segment.offset, segment.numel).mul_(coefficient);
  }
}

double gradient_norm(std::span<const double> squares) {
  double all = 0;
  for (const double square : squares) all += square;
  return std::sqrt(all);
}

double clip_per_parameter(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules) {
  return clip_and_read(layout, state, max_norm, ClipBy::kParameter, rules);
}

double clip_per_module(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules) {
  return clip_and_read(layout, state, max_norm, ClipBy::kModule, rules);
}

}  // namespace dinoxx
