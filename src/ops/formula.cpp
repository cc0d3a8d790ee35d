#include "formula.hpp"

#include <ATen/ATen.h>

#include "ops/recompute.hpp"

namespace dinoxx::ops::formula {
namespace {

std::optional<at::Tensor> maybe(const at::Tensor& t) {
  return t.defined() ? std::optional<at::Tensor>(t) : std::nullopt;
}

/// branch [B, N, D] times the per-sample scale [B], added to x.
at::Tensor add_scaled(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& scale) {
  return scale.defined() ? x + branch * scale.to(branch.scalar_type()).view({-1, 1, 1}) : x + branch;
}

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return at::layer_norm(x, {x.size(-1)}, weight, bias, eps);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(x, weight, maybe(bias));
}

at::Tensor gelu(const at::Tensor& x) {
  return at::gelu(x, "none");
}

at::Tensor attention(const at::Tensor& qkv, int heads) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), dim = qkv.size(2) / 3;
  // [3, B, heads, N, head_dim]
  const auto parts = qkv.view({batch, tokens, 3, heads, dim / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  return at::scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2).reshape({batch, tokens, dim});
}

at::Tensor transformer_block(const at::Tensor& x, const BlockWeights& w, int heads, double eps, const at::Tensor& s1, const at::Tensor& s2,
                             bool attention_again) {
  const auto branch = [heads](const Tensors& h, const Tensors& of) {
    const at::Tensor qkv = formula::linear(h[0], of[0], of.size() > 3 ? of[3] : at::Tensor());
    return Tensors{formula::linear(formula::attention(qkv, heads), of[1], of[2])};
  };
  const Tensors normed{formula::layer_norm(x, w.norm1_weight, w.norm1_bias, eps)}, weights = attention_weights(w);
  const auto y = add_scaled(x, (attention_again ? recompute(branch, normed, weights) : branch(normed, weights))[0], s1);
  const auto hidden =
      at::gelu(formula::linear(formula::layer_norm(y, w.norm2_weight, w.norm2_bias, eps), w.fc1_weight, w.fc1_bias), "none");
  return add_scaled(y, formula::linear(hidden, w.fc2_weight, w.fc2_bias), s2);
}

}  // namespace dinoxx::ops::formula
