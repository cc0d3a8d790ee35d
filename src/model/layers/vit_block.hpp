#pragma once
#include <span>
#include <vector>

#include "ops/ops.hpp"
#include "rope.hpp"
#include "stochastic_depth.hpp"

namespace dinoxx {

/// A pre-norm block of any style. Undefined: absent.
struct VitBlock {
  ops::BlockWeights plain;          ///< fc1, fc2 undefined with SwiGLU
  at::Tensor w12_weight, w12_bias;  ///< SwiGLU: gate rows, then value rows, [2 h, D]
  at::Tensor w3_weight, w3_bias;
  at::Tensor scale1, scale2;  ///< LayerScale [D]
};

/// What a block needs beside its weights and tokens.
struct BlockContext {
  int heads = 1;
  double eps = 1e-6;
  bool mask_key_bias = false;
  int64_t prefix = 1;            ///< tokens that are not rotated
  bool attention_again = false;  ///< ops::transformer_block
};

/// Crops of one size on their way through a block.
struct TokenGroup {
  at::Tensor x;  ///< [B, T, D]
  RopeTable rope;
  BranchDraws draws;  ///< of all blocks
  BranchDraw draw1, draw2;
};

/// One block on crops of several sizes: norms and linear layers see the tokens of all groups as rows of one matrix, attention runs for each
/// group. One group of a plain block takes the fused kernel. Equal to separate calls up to rounding. Returns the new x of each group.
std::vector<at::Tensor> block_forward(const VitBlock& block, const BlockContext& context, std::span<const TokenGroup> groups);

/// The CLS rows of block_forward, [B, D]; computes no other row where it can (cls_block.hpp).
at::Tensor block_forward_cls(const VitBlock& block, const BlockContext& context, const TokenGroup& group);

/// Attention probabilities [B, heads, T, T].
at::Tensor block_attention(const VitBlock& block, const BlockContext& context, const TokenGroup& group);

/// The weights of a block in which LayerScale and the masked key bias stand no more: they are part of the linear layers around them,
/// diag(gamma) (W x + b) = (diag(gamma) W) x + gamma b, and gradients go through to gamma.
VitBlock folded(const VitBlock& block, const BlockContext& context);

/// All tensors of a block that are there.
std::vector<at::Tensor> block_tensors(const VitBlock& block);
/// The same block with other tensors, as block_tensors lists them.
VitBlock with_tensors(VitBlock block, std::span<const at::Tensor> tensors);

}  // namespace dinoxx
