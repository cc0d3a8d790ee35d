#include "lora.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "pieces.hpp"

namespace dinoxx {
namespace {

using namespace optim_detail;

// Both factors of a matrix in one of the flat buffers.
struct Factors {
  at::Tensor both, a, b;
};
Factors factors_at(const at::Tensor& flat, const Segment& segment, int64_t rank) {
  const int64_t m = segment.shape[0], n = segment.shape[1];
  const at::Tensor both = flat.narrow(0, segment.offset, rank * (m + n));
  return {both, both.narrow(0, 0, rank * n).view({rank, n}), both.narrow(0, rank * n, rank * m).view({m, rank})};
}

}  // namespace

LoraAdamW::LoraAdamW(const ParamLayout& layout, at::ScalarType dtype, AdamWConfig config, const LoraConfig& lora)
    : AdamW(layout, dtype, config), factors(at::zeros({layout.numel}, dtype)), config_(config), lora_(lora) {
  bool any = false;
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment& segment = layout.segments[s];
    if (!is_block_matrix(segment)) continue;
    any = true;
    const int64_t m = segment.shape[0], n = segment.shape[1];
    if (lora.rank * (m + n) > m * n)
      fail_usage("init.lora_rank", fmt::format("at most {} for {}, a matrix of {} x {}", m * n / (m + n), segment.name, m, n),
                 std::to_string(lora.rank), "Lower it; a higher rank has more numbers than the matrix");
    const at::Tensor a = at::empty({lora.rank, n}, at::kDouble);
    CounterRng rng(lora.seed, s, 0, Purpose::kLora);
    const double bound = 1.0 / std::sqrt(static_cast<double>(n));
    for (int64_t i = 0; i < a.numel(); ++i) a.data_ptr<double>()[i] = rng.uniform(-bound, bound);
    factors_at(factors, segment, lora.rank).a.copy_(a);
  }
  if (!any) fail_usage("init.lora_rank", "0 for a network without transformer blocks", std::to_string(lora.rank), "Leave it out");
}

std::vector<std::pair<std::string, at::Tensor>> LoraAdamW::named_state() const {
  auto state = AdamW::named_state();
  state.emplace_back("lora_factors", factors);
  return state;
}

void LoraAdamW::step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) {
  at::NoGradGuard no_grad;
  require_rules(layout, rules, "LoraAdamW::step");
  std::vector<SegmentRule> others = rules;
  for (size_t s = 0; s < others.size(); ++s)
    if (is_block_matrix(layout.segments[s])) others[s].frozen = true;
  AdamW::step(layout, state, lr, weight_decay, others);
  require_state(layout, state, factors, segment_steps, "LoraAdamW::step");

  const double scale = lora_.alpha / static_cast<double>(lora_.rank);
  for (size_t s = 0; s < rules.size(); ++s) {
    const Segment& segment = layout.segments[s];
    if (!is_block_matrix(segment) || !moves(segment, rules[s])) continue;
    const auto step = static_cast<double>(++segment_steps[s]);
    const at::Tensor g = state.grad.narrow(0, segment.offset, segment.numel).view(segment.shape);
    at::Tensor w = state.master.narrow(0, segment.offset, segment.numel).view(segment.shape);
    const Factors f = factors_at(factors, segment, lora_.rank), m = factors_at(exp_avg, segment, lora_.rank),
                  v = factors_at(exp_avg_sq, segment, lora_.rank);
    const at::Tensor gradient = at::cat({at::mm(f.b.t(), g).flatten(), at::mm(g, f.a.t()).flatten()}) * scale;
    w.addmm_(f.b, f.a, /*beta=*/1, /*alpha=*/-scale);
    const double rate = lr * rules[s].lr_scale, decay = weight_decay * rules[s].wd_scale;
    f.both.mul_(1.0 - rate * decay);
    m.both.lerp_(gradient, 1.0 - config_.beta1);
    v.both.mul_(config_.beta2).addcmul_(gradient, gradient, 1.0 - config_.beta2);
    const double root = std::sqrt(1.0 - std::pow(config_.beta2, step));
    f.both.addcdiv_(m.both, (v.both.sqrt() / root).add_(config_.eps), -rate / (1.0 - std::pow(config_.beta1, step)));
    w.addmm_(f.b, f.a, /*beta=*/1, /*alpha=*/scale);
  }
  state.cast();
}

}  // namespace dinoxx
