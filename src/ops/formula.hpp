#pragma once
#include "ops/ops.hpp"

/// The operations of ops.hpp as ATen formulas, differentiated by ATen: any device, any floating type. What the fused kernels are compared
/// against.
namespace dinoxx::ops::formula {

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
at::Tensor gelu(const at::Tensor& x);
at::Tensor attention(const at::Tensor& qkv, int heads);
at::Tensor transformer_block(const at::Tensor& x, const BlockWeights& weights, int heads, double eps, const at::Tensor& s1,
                             const at::Tensor& s2, bool attention_again);

}  // namespace dinoxx::ops::formula
