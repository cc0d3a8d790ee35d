#include "sgd.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "adamw.hpp"
#include "cuda/flat_cuda.hpp"
#include "dinoxx/base/error.hpp"
#include "lora.hpp"
#include "pieces.hpp"

namespace dinoxx {
namespace {

using namespace optim_detail;

/// |g + wd p|^2 of each segment that moves.
std::vector<double> update_squares(const ParamLayout& layout, const FlatState& state, const std::vector<SegmentRule>& rules,
                                   double weight_decay) {
  const auto sums = [&]<class T>(T) {
    const T *p = state.master.data_ptr<T>(), *g = state.grad.data_ptr<T>();
    return segment_sums(layout, state, rules, [&](const Piece& piece) {
      if (!rules[piece.segment].adapt) return 0.0;
      const T decay = static_cast<T>(weight_decay * rules[piece.segment].wd_scale);
      double sum = 0;
      for (int64_t k = piece.begin; k < piece.begin + piece.numel; ++k) {
        const double d = g[k] + decay * p[k];
        sum += d * d;
      }
      return sum;
    });
  };
  return state.master.scalar_type() == at::kFloat ? sums(float{}) : sums(double{});
}

LarsRule rule_of(const LarsConfig& config) {
  return {config.trust, config.ratio == LarsConfig::Ratio::kSum, config.clip_lr};
}

/// The local rates of LARS.
std::vector<Update> lars_updates(const LarsConfig& config, const ParamLayout& layout, const FlatState& state, double lr,
                                 double weight_decay, const std::vector<SegmentRule>& rules) {
  const LarsRule rule = rule_of(config);
  const std::vector<double> weights = segment_squares(layout, state, state.master, rules),
                            gradients = rule.sum ? segment_squares(layout, state, state.grad, rules)
                                                 : update_squares(layout, state, rules, weight_decay);
  std::vector<Update> updates(layout.segments.size());
  for (size_t s = 0; s < updates.size(); ++s) {
    const double rate = lr * rules[s].lr_scale;
    updates[s].lr = rate;
    if (rules[s].adapt) updates[s] = lars_update(rule, rate, weight_decay * rules[s].wd_scale, weights[s], gradients[s]);
  }
  return updates;
}

}  // namespace

std::vector<SgdSegment> optim_detail::sgd_segments(const ParamLayout& layout, double lr, double weight_decay,
                                                   const std::vector<SegmentRule>& rules, bool with_lars) {
  std::vector<SgdSegment> segments;
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment& segment = layout.segments[s];
    if (!moves(segment, rules[s])) continue;
    const double decay = with_lars && !rules[s].adapt ? 0 : weight_decay * rules[s].wd_scale;
    segments.push_back({segment.offset, segment.numel, lr * rules[s].lr_scale, decay, rules[s].adapt});
  }
  return segments;
}

Sgd::Sgd(const ParamLayout& layout, at::ScalarType dtype, SgdConfig config)
    : velocity(at::zeros({layout.numel}, dtype)), momentum_(config.momentum) {
  segment_steps.assign(layout.segments.size(), 0);
  require_type(velocity, "SGD");
}

Sgd::Sgd(const ParamLayout& layout, at::ScalarType dtype, LarsConfig config) : Sgd(layout, dtype, SgdConfig{config.momentum}) {
  lars_ = config;
}

std::vector<std::pair<std::string, at::Tensor>> Sgd::named_state() const {
  return {{"velocity", velocity}};
}

void Sgd::step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) {
  at::NoGradGuard no_grad;
  const char* const what = lars_ ? "LARS::step" : "SGD::step";
  require_rules(layout, rules, what);
  require_state(layout, state, velocity, segment_steps, what);
  for (size_t s = 0; s < layout.segments.size(); ++s) segment_steps[s] += moves(layout.segments[s], rules[s]);
  // The first velocity is momentum * 0 + d, the same number as d.
  if (state.master.is_cuda()) {
    const LarsRule rule = lars_ ? rule_of(*lars_) : LarsRule{};
    return sgd_cuda(sgd_segments(layout, lr, weight_decay, rules, lars_.has_value()), lars_ ? &rule : nullptr, momentum_, state, velocity);
  }
  std::vector<Update> updates(layout.segments.size());
  if (lars_) {
    updates = lars_updates(*lars_, layout, state, lr, weight_decay, rules);
  } else {
    for (size_t s = 0; s < updates.size(); ++s) updates[s] = {1, weight_decay * rules[s].wd_scale, lr * rules[s].lr_scale};
  }
  const auto run = [&]<class T>(T) {
    T *p = state.master.data_ptr<T>(), *v = velocity.data_ptr<T>();
    const T* g = state.grad.data_ptr<T>();
    const T momentum = static_cast<T>(momentum_);
    for_each_piece(pieces_of(layout, rules), [&](const Piece& piece, size_t) {
      const Update& update = updates[piece.segment];
      const T q = static_cast<T>(update.q), decay = static_cast<T>(update.weight_decay), rate = static_cast<T>(update.lr);
      for (int64_t k = piece.begin; k < piece.begin + piece.numel; ++k) {
        const T moved = momentum * v[k] + q * (g[k] + decay * p[k]);
        v[k] = moved;
        p[k] -= rate * moved;
      }
    });
  };
  if (state.master.scalar_type() == at::kFloat) {
    run(float{});
  } else {
    run(double{});
  }
  state.cast();
}

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names = {"adamw", "sgd", "lars"};
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParamLayout& layout, at::ScalarType dtype) {
  if (config.lora && config.name != "adamw") fail_usage("init.lora_rank", "optim.name = adamw", config.name, "Change one of them");
  if (config.lora) return std::make_unique<LoraAdamW>(layout, dtype, config.adamw, *config.lora);
  if (config.name == "adamw") return std::make_unique<AdamW>(layout, dtype, config.adamw);
  if (config.name == "sgd") return std::make_unique<Sgd>(layout, dtype, config.sgd);
  if (config.name == "lars") return std::make_unique<Sgd>(layout, dtype, config.lars);
  const std::string near = nearest_name(config.name, optimizer_names());
  fail_usage("optimizer", fmt::format("one of {}", fmt::join(optimizer_names(), ", ")), fmt::format("\"{}\"", config.name),
             near.empty() ? std::string("Choose one of them") : fmt::format("Did you mean {}?", near));
}

}  // namespace dinoxx
