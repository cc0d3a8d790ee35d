#pragma once
#include <ATen/core/Tensor.h>

#include <string>

/// The few tensor operations of which the networks are made, differentiable. On CPU in float32 and bfloat16 they run own fused kernels
/// (src/kernels/network); everywhere else (float64, CUDA) the ATen formula. set_fused(false) forces the ATen formula, which the tests
/// compare against.
namespace dinoxx::ops {

void set_fused(bool on);  ///< default on; process-wide
bool fused();

/// The fused operations keep freed blocks for reuse; this returns them to the system (after training, before something else needs the
/// memory).
void release_cached_memory();
/// One line for logs: which kernels this processor gets.
std::string kernels_in_use();

/// Over the last dimension, statistics in float32 (float64 for float64), eps as given. x [..., D], weight and bias [D].
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);
/// x [..., in], weight [out, in], bias [out] or undefined.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
/// gelu(linear(x, weight, bias)) in one pass: cheaper than the two calls.
at::Tensor linear_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
/// Exact (erf) GELU.
at::Tensor gelu(const at::Tensor& x);
/// Multi-head softmax attention. qkv [B, N, 3 * D], rows q|k|v, head-major inside; scale head_dim^-1/2. Returns [B, N, D].
at::Tensor attention(const at::Tensor& qkv, int heads);

struct BlockWeights {
  at::Tensor norm1_weight, norm1_bias, qkv_weight, qkv_bias, proj_weight, proj_bias;
  at::Tensor norm2_weight, norm2_bias, fc1_weight, fc1_bias, fc2_weight, fc2_bias;
};
/// Of its attention part, from the normed tokens to what is added to x: qkv's weight, the projection's weight and bias, qkv's bias where
/// it is there.
std::vector<at::Tensor> attention_weights(const BlockWeights& weights);
/// One pre-norm block: x += s1 * proj(attention(qkv(norm1 x))); x += s2 * fc2(gelu(fc1(norm2 x))). x [B, N, D].
/// s1, s2: per-sample stochastic-depth scale [B] (0 or 1 / keep), or undefined for 1. attention_again: the backward pass computes queries,
/// keys, values and attention again from the normed tokens, which are kept instead; no bit of a gradient changes.
at::Tensor transformer_block(const at::Tensor& x, const BlockWeights& weights, int heads, double eps, const at::Tensor& s1,
                             const at::Tensor& s2, bool attention_again = false);

}  // namespace dinoxx::ops
