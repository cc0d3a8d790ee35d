#pragma once
#include "ops/ops.hpp"

namespace dinoxx {

/// The CLS row of ops::transformer_block(x, ...), [B, D], without computing the other rows: DINO reads only the CLS token after the last
/// block. One query needs neither keys nor values: with h = norm1(x), head i's score of token n is (Wk_i^T q_i) . h_n (the key bias adds
/// the same to all tokens, which softmax ignores, so its gradient is exactly zero), and its output is Wv_i (sum_n a_n h_n) + bv_i. That
/// leaves about 1 / (12 D) of the block's products per patch token. Same function and gradients as the full block up to rounding. x [B, N,
/// D]; s1, s2 [B] or undefined, as there.
at::Tensor cls_block(const at::Tensor& x, const ops::BlockWeights& weights, int heads, double eps, const at::Tensor& s1,
                     const at::Tensor& s2);

/// Attention's output for the CLS token, before the projection, [B, D]. h: normalised tokens [B, N, D].
at::Tensor cls_attention(const at::Tensor& h, const at::Tensor& qkv_weight, const at::Tensor& qkv_bias, int heads);

}  // namespace dinoxx
