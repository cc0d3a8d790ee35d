#include "ops/ops.hpp"

#include <ATen/ATen.h>

#include <atomic>

#include "formula.hpp"
#include "fused.hpp"
#include "pool.hpp"
#include "recompute.hpp"

namespace dinoxx::ops {
namespace {

std::atomic<bool> fused_on{true};

bool use_fused(std::initializer_list<at::Tensor> tensors) {
  return fused_on && cpu::supported(tensors);
}

}  // namespace

void set_fused(bool on) {
  fused_on = on;
}
bool fused() {
  return fused_on;
}
void release_cached_memory() {
  pool_release();
}
std::string kernels_in_use() {
  const std::string gemm_name = gemm_kernels(false) ? "own AVX-512" : "ATen";
  const std::string bf16_name = gemm_kernels(true) ? "own AVX512_BF16" : "ATen";
  return std::string(level_name(kernel_set(false).level)) + " kernels; matrix products: float32 " + gemm_name + ", bfloat16 " + bf16_name;
}

std::vector<at::Tensor> attention_weights(const BlockWeights& w) {
  std::vector<at::Tensor> weights{w.qkv_weight, w.proj_weight, w.proj_bias};
  if (w.qkv_bias.defined()) weights.push_back(w.qkv_bias);
  return weights;
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return use_fused({x, weight, bias}) ? cpu::layer_norm(x, weight, bias, eps) : formula::layer_norm(x, weight, bias, eps);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return use_fused({x, weight, bias}) ? cpu::linear(x, weight, bias) : formula::linear(x, weight, bias);
}

at::Tensor linear_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return use_fused({x, weight, bias}) ? cpu::linear_gelu(x, weight, bias) : formula::gelu(formula::linear(x, weight, bias));
}

at::Tensor gelu(const at::Tensor& x) {
  return use_fused({x}) ? cpu::gelu(x) : formula::gelu(x);
}

at::Tensor attention(const at::Tensor& qkv, int heads) {
  return qkv.size(1) <= cpu::kMaxTokens && use_fused({qkv}) ? cpu::attention(qkv, heads) : formula::attention(qkv, heads);
}

at::Tensor transformer_block(const at::Tensor& x, const BlockWeights& w, int heads, double eps, const at::Tensor& s1, const at::Tensor& s2,
                             bool attention_again) {
  const bool supported = use_fused({x, w.norm1_weight, w.norm1_bias, w.qkv_weight, w.qkv_bias, w.proj_weight, w.proj_bias, w.norm2_weight,
                                    w.norm2_bias, w.fc1_weight, w.fc1_bias, w.fc2_weight, w.fc2_bias});
  if (!supported) return formula::transformer_block(x, w, heads, eps, s1, s2, attention_again);
  if (x.size(1) <= cpu::kMaxTokens) return cpu::transformer_block(x, w, heads, eps, s1, s2, attention_again);
  // many tokens: attention by ATen's flash kernel, the rest fused piece by piece
  const auto add_scaled = [](const at::Tensor& to, const at::Tensor& branch, const at::Tensor& scale) {
    return scale.defined() ? to + branch * scale.to(branch.scalar_type()).view({-1, 1, 1}) : to + branch;
  };
  const auto branch = [heads](const Tensors& h, const Tensors& of) {
    return Tensors{linear(formula::attention(linear(h[0], of[0], of.size() > 3 ? of[3] : at::Tensor()), heads), of[1], of[2])};
  };
  const Tensors normed{layer_norm(x, w.norm1_weight, w.norm1_bias, eps)}, weights = attention_weights(w);
  const at::Tensor y = add_scaled(x, (attention_again ? recompute(branch, normed, weights) : branch(normed, weights))[0], s1);
  const at::Tensor hidden = linear_gelu(layer_norm(y, w.norm2_weight, w.norm2_bias, eps), w.fc1_weight, w.fc1_bias);
  return add_scaled(y, linear(hidden, w.fc2_weight, w.fc2_bias), s2);
}

}  // namespace dinoxx::ops
