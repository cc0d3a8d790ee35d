#include "adamw.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "cuda/adamw_cuda.hpp"
#include "dinoxx/base/error.hpp"
#include "kernels/optim/flat_kernels.hpp"
#include "pieces.hpp"

namespace dinoxx {
namespace {

using namespace optim_detail;

template <class T>
AdamWConstants<T> constants(const AdamWConfig& config, int64_t step, double lr, double weight_decay) {
  const double correction1 = 1.0 - std::pow(config.beta1, static_cast<double>(step));
  const double correction2 = 1.0 - std::pow(config.beta2, static_cast<double>(step));
  return {static_cast<T>(1.0 - lr * weight_decay), static_cast<T>(1.0 - config.beta1),     static_cast<T>(config.beta2),
          static_cast<T>(1.0 - config.beta2),      static_cast<T>(std::sqrt(correction2)), static_cast<T>(config.eps),
          static_cast<T>(-(lr / correction1))};
}

}  // namespace

AdamW::AdamW(const ParamLayout& layout, at::ScalarType dtype, AdamWConfig config)
    : exp_avg(at::zeros({layout.numel}, dtype)), exp_avg_sq(at::zeros({layout.numel}, dtype)), config_(config) {
  segment_steps.assign(layout.segments.size(), 0);
  require_type(exp_avg, "AdamW");
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::named_state() const {
  return {{"exp_avg", exp_avg}, {"exp_avg_sq", exp_avg_sq}};
}

void AdamW::step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) {
  at::NoGradGuard no_grad;
  require_rules(layout, rules, "AdamW::step");
  require_state(layout, state, exp_avg, segment_steps, "AdamW::step");
  require_state(layout, state, exp_avg_sq, segment_steps, "AdamW::step");
  for (size_t s = 0; s < layout.segments.size(); ++s) segment_steps[s] += moves(layout.segments[s], rules[s]);
  const auto constants_of = [&]<class T>(size_t s, T) {
    return constants<T>(config_, segment_steps[s], lr * rules[s].lr_scale, weight_decay * rules[s].wd_scale);
  };

  if (state.master.is_cuda()) {
    std::vector<optim_detail::AdamWRun> runs;
    for (size_t s = 0; s < layout.segments.size(); ++s) {
      const Segment& segment = layout.segments[s];
      if (moves(segment, rules[s])) runs.push_back({segment.offset, segment.numel, constants_of(s, float{})});
    }
    optim_detail::adamw_cuda(runs, state, exp_avg, exp_avg_sq);
    return;
  }
  const std::vector<Piece> pieces = pieces_of(layout, rules);
  uint16_t* const bf16 = bf16_copy(state);
  const auto run = [&]<class T>(auto kernel, T) {
    std::vector<AdamWConstants<T>> by_segment;
    for (size_t s = 0; s < layout.segments.size(); ++s) by_segment.push_back(constants_of(s, T{}));
    T *p = state.master.data_ptr<T>(), *g = state.grad.data_ptr<T>(), *m = exp_avg.data_ptr<T>(), *v = exp_avg_sq.data_ptr<T>();
    for_each_piece(pieces, [&](const Piece& piece, size_t) {
      const int64_t at = piece.begin;
      kernel(p + at, g + at, m + at, v + at, bf16 ? bf16 + at : nullptr, piece.numel, by_segment[piece.segment]);
    });
  };
  if (state.master.scalar_type() == at::kFloat) {
    run(flat_kernels().adamw_f32, float{});
  } else {
    run(flat_kernels().adamw_f64, double{});
  }
  if (!bf16) state.cast();  // nothing when the network computes in the masters
}

}  // namespace dinoxx
