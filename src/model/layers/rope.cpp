#include "rope.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numbers>

#include "ops/to_device.hpp"

namespace dinoxx {
namespace {

/// A copy of qkv with queries and keys of the patches rotated by the angles, or back.
at::Tensor rotated(const at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin, int64_t heads, int64_t prefix, bool back) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), half = cos.size(1), patches = tokens - prefix;
  at::Tensor out = qkv.clone(at::MemoryFormat::Contiguous);
  // [B, N, q and k, heads, halves, head_dim / 2]
  const auto pairs = [&](const at::Tensor& t) {
    return t.view({batch, tokens, 3, heads, 2, half}).narrow(1, prefix, patches).narrow(2, 0, 2);
  };
  const at::Tensor from = pairs(out).to(cos.scalar_type());  // a copy where the types differ; else the same storage
  const at::Tensor c = cos.view({1, patches, 1, 1, half}),
                   s = back ? -sin.view({1, patches, 1, 1, half}) : sin.view({1, patches, 1, 1, half});
  const at::Tensor first = from.select(4, 0), second = from.select(4, 1);
  const at::Tensor new_first = first * c - second * s, new_second = second * c + first * s;
  at::Tensor to = pairs(out);
  to.select(4, 0).copy_(new_first);
  to.select(4, 1).copy_(new_second);
  return out;
}

class RopeFunction : public torch::autograd::Function<RopeFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
                            int64_t heads, int64_t prefix) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    ctx->save_for_backward({cos, sin});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["prefix"] = prefix;
    return rotated(qkv, cos, sin, heads, prefix, false);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    // a rotation's transpose is its inverse; the same few operations, so that a second derivative works as well
    const auto saved = ctx->get_saved_variables();
    const at::Tensor grad =
        rotated(grads[0], saved[0], saved[1], ctx->saved_data["heads"].toInt(), ctx->saved_data["prefix"].toInt(), true);
    return {grad, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

/// Patch centres of one axis in [-1, 1].
at::Tensor centres(int64_t count, int64_t length) {
  return 2.0 * ((at::arange(count, at::kDouble) + 0.5) / static_cast<double>(length)) - 1.0;
}

}  // namespace

at::Tensor rope_periods(const RopeConfig& config, int64_t head_dim) {
  const int64_t count = head_dim / 4;
  const at::Tensor index = at::arange(count, at::kDouble);
  const at::Tensor periods =
      config.min_period ? *config.min_period * at::pow(*config.max_period / *config.min_period, index / std::max<double>(1, count - 1))
                        : at::pow(config.base, index * 4.0 / static_cast<double>(head_dim));
  return config.bf16_periods ? periods.to(at::kBFloat16).to(at::kDouble) : periods;
}

at::Tensor rope_frequency(const RopeConfig& config, int64_t head_dim) {
  return 2 * std::numbers::pi / rope_periods(config, head_dim);
}

bool rope_drawn(const RopeConfig& config) {
  return config.shift > 0 || config.jitter > 1 || config.rescale > 1;
}

at::Tensor rope_centres(const RopeConfig& config, int64_t rows, int64_t columns, CounterRng* rng) {
  const int64_t longer = std::max(rows, columns), shorter = std::min(rows, columns);
  const auto length = [&](int64_t own) { return config.coords == "max" ? longer : config.coords == "min" ? shorter : own; };
  at::Tensor y = centres(rows, length(rows)), x = centres(columns, length(columns));
  if (rng) {
    const auto symmetric = [&](double limit) { return rng->uniform(-limit, limit); };
    if (config.shift > 0) y = y + symmetric(config.shift), x = x + symmetric(config.shift);
    if (config.jitter > 1) y = y * std::exp(symmetric(std::log(config.jitter))), x = x * std::exp(symmetric(std::log(config.jitter)));
    if (config.rescale > 1) {
      const double factor = std::exp(symmetric(std::log(config.rescale)));
      y = y * factor, x = x * factor;
    }
  }
  return at::cat({y, x});
}

RopeTable rope_table(const RopeConfig& config, int64_t head_dim, int64_t rows, int64_t columns, const at::TensorOptions& like,
                     CounterRng* rng) {
  const at::Tensor both_axes = rope_centres(config, rows, columns, rng), y = both_axes.narrow(0, 0, rows),
                   x = both_axes.narrow(0, rows, columns), frequency = rope_frequency(config, head_dim);
  const int64_t quarter = head_dim / 4;
  const at::Tensor angles = at::cat({(y.unsqueeze(1) * frequency).view({rows, 1, quarter}).expand({rows, columns, quarter}),
                                     (x.unsqueeze(1) * frequency).view({1, columns, quarter}).expand({rows, columns, quarter})},
                                    2)
                                .view({rows * columns, 2 * quarter});
  const at::ScalarType wide = like.dtype() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor both = to_device(at::stack({at::cos(angles), at::sin(angles)}).to(wide), like.device());
  return {both[0], both[1]};
}

at::Tensor apply_rope(const at::Tensor& qkv, const RopeTable& table, int heads, int64_t prefix) {
  return table.defined() ? RopeFunction::apply(qkv, table.cos, table.sin, int64_t{heads}, prefix) : qkv;
}

}  // namespace dinoxx
