#include "clip.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "pieces.hpp"

namespace dinoxx {
namespace {

void scale(const ParamLayout& layout, FlatState& state, size_t segment, double coefficient) {
  const Segment& s = layout.segments[segment];
  if (coefficient < 1) state.grad.narrow(0, s.offset, s.numel).mul_(coefficient);
}

double root_of_sum(const std::vector<double>& squares) {
  double all = 0;
  for (const double square : squares) all += square;
  return std::sqrt(all);
}

std::vector<double> squares_of(const ParamLayout& layout, const FlatState& state, const std::vector<SegmentRule>& rules, const char* what) {
  optim_detail::require_type(state.grad, what);
  optim_detail::require_rules(layout, rules, what);
  return optim_detail::segment_squares(layout, state.grad, rules);
}

}  // namespace

double clip_per_parameter(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules) {
  at::NoGradGuard no_grad;
  const std::vector<double> squares = squares_of(layout, state, rules, "clip_per_parameter");
  if (max_norm > 0)
    for (size_t s = 0; s < squares.size(); ++s) scale(layout, state, s, max_norm / (std::sqrt(squares[s]) + 1e-6));
  return root_of_sum(squares);
}

double clip_per_module(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules) {
  at::NoGradGuard no_grad;
  const std::vector<double> squares = squares_of(layout, state, rules, "clip_per_module");
  if (max_norm > 0) {
    const auto module = [&](size_t s) { return layout.segments[s].name.substr(0, layout.segments[s].name.find('.')); };
    std::map<std::string, double> sums;
    for (size_t s = 0; s < squares.size(); ++s) sums[module(s)] += squares[s];
    for (size_t s = 0; s < squares.size(); ++s)
      if (optim_detail::moves(layout.segments[s], rules[s])) scale(layout, state, s, max_norm / (std::sqrt(sums[module(s)]) + 1e-6));
  }
  return root_of_sum(squares);
}

}  // namespace dinoxx
