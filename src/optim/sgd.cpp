#include "sgd.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "adamw.hpp"
#include "dinoxx/base/error.hpp"
#include "pieces.hpp"

namespace dinoxx {
namespace {

using namespace optim_detail;

constexpr double kSumEps = 1e-8;

/// What one segment is updated with: v = momentum v + q (g + wd p), p -= lr v.
struct Update {
  double q = 1, weight_decay = 0, lr = 0;
};

/// |g + wd p|^2 of each segment that moves.
std::vector<double> update_squares(const ParamLayout& layout, const FlatState& state, const std::vector<SegmentRule>& rules,
                                   double weight_decay) {
  std::vector<double> squares(layout.segments.size(), 0.0);
  if (state.master.is_cuda()) {
    std::vector<at::Tensor> sums;
    for (size_t s = 0; s < squares.size(); ++s) {
      const Segment& segment = layout.segments[s];
      if (!moves(segment, rules[s]) || !rules[s].adapt) continue;
      sums.push_back(at::add(state.grad.narrow(0, segment.offset, segment.numel), state.master.narrow(0, segment.offset, segment.numel),
                             weight_decay * rules[s].wd_scale));
    }
    if (sums.empty()) return squares;
    const at::Tensor norms = at::stack(at::_foreach_norm(sums)).to(at::kDouble).cpu();  // one wait for the device
    const double* norm = norms.data_ptr<double>();
    for (size_t s = 0; s < squares.size(); ++s) {
      if (!moves(layout.segments[s], rules[s]) || !rules[s].adapt) continue;
      squares[s] = *norm * *norm;
      ++norm;
    }
    return squares;
  }
  const std::vector<Piece> pieces = pieces_of(layout, rules);
  std::vector<double> parts(pieces.size(), 0.0);
  const auto run = [&]<class T>(T) {
    const T *p = state.master.data_ptr<T>(), *g = state.grad.data_ptr<T>();
    for_each_piece(pieces, [&](const Piece& piece, size_t i) {
      if (!rules[piece.segment].adapt) return;
      const T decay = static_cast<T>(weight_decay * rules[piece.segment].wd_scale);
      double sum = 0;
      for (int64_t k = piece.begin; k < piece.begin + piece.numel; ++k) {
        const double d = g[k] + decay * p[k];
        sum += d * d;
      }
      parts[i] = sum;
    });
  };
  if (state.master.scalar_type() == at::kFloat) {
    run(float{});
  } else {
    run(double{});
  }
  for (size_t i = 0; i < pieces.size(); ++i) squares[pieces[i].segment] += parts[i];
  return squares;
}

/// The local rates of LARS.
std::vector<Update> lars_updates(const LarsConfig& config, const ParamLayout& layout, const FlatState& state, double lr,
                                 double weight_decay, const std::vector<SegmentRule>& rules) {
  const bool sum = config.ratio == LarsConfig::Ratio::kSum;
  const std::vector<double> weights = segment_squares(layout, state.master, rules),
                            gradients =
                                sum ? segment_squares(layout, state.grad, rules) : update_squares(layout, state, rules, weight_decay);
  std::vector<Update> updates(layout.segments.size());
  for (size_t s = 0; s < updates.size(); ++s) {
    Update& update = updates[s];
    update.lr = lr * rules[s].lr_scale;
    if (!rules[s].adapt) continue;
    update.weight_decay = weight_decay * rules[s].wd_scale;
    const double p = std::sqrt(weights[s]), g = std::sqrt(gradients[s]);
    if (p == 0 || g == 0) {
      if (sum) update.weight_decay = 0;
      continue;
    }
    update.q = config.trust * p / (sum ? g + p * update.weight_decay + kSumEps : g);
    // at rate 0, where a warm-up begins, what it tends to
    if (config.clip_lr) update.q = update.lr > 0 ? std::min(update.q / update.lr, 1.0) : 1.0;
  }
  return updates;
}

}  // namespace

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
  std::vector<Update> updates(layout.segments.size());
  if (lars_) {
    updates = lars_updates(*lars_, layout, state, lr, weight_decay, rules);
  } else {
    for (size_t s = 0; s < updates.size(); ++s) updates[s] = {1, weight_decay * rules[s].wd_scale, lr * rules[s].lr_scale};
  }
  for (size_t s = 0; s < updates.size(); ++s) segment_steps[s] += moves(layout.segments[s], rules[s]);

  // The first velocity is momentum * 0 + d, the same number as d.
  if (state.master.is_cuda()) {
    for (size_t s = 0; s < updates.size(); ++s) {
      const Segment& segment = layout.segments[s];
      if (!moves(segment, rules[s])) continue;
      const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, segment.offset, segment.numel); };
      at::Tensor p = part(state.master), v = part(velocity);
      const at::Tensor d = at::add(part(state.grad), p, updates[s].weight_decay).mul_(updates[s].q);
      v.mul_(momentum_).add_(d);
      p.sub_(v, updates[s].lr);
    }
  } else {
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
  }
  state.publish();
}

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names = {"adamw", "sgd", "lars"};
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParamLayout& layout, at::ScalarType dtype) {
  if (config.name == "adamw") return std::make_unique<AdamW>(layout, dtype, config.adamw);
  if (config.name == "sgd") return std::make_unique<Sgd>(layout, dtype, config.sgd);
  if (config.name == "lars") return std::make_unique<Sgd>(layout, dtype, config.lars);
  const std::string near = nearest_name(config.name, optimizer_names());
  fail_usage("optimizer", fmt::format("one of {}", fmt::join(optimizer_names(), ", ")), fmt::format("\"{}\"", config.name),
             near.empty() ? std::string("Choose one of them") : fmt::format("Did you mean {}?", near));
}

}  // namespace dinoxx
