#include "vit_block.hpp"

#include <ATen/ATen.h>

#include "cls_block.hpp"
#include "ops/recompute.hpp"

namespace dinoxx {
namespace {

/// silu(gate) * value of [.., 2 h] -> [.., h].
at::Tensor swiglu(const at::Tensor& x) {
  const int64_t hidden = x.size(-1) / 2;
  return at::silu(x.narrow(-1, 0, hidden)) * x.narrow(-1, hidden, hidden);
}

at::Tensor feed_forward(const VitBlock& b, const at::Tensor& x) {
  if (b.w12_weight.defined()) return ops::linear(swiglu(ops::linear(x, b.w12_weight, b.w12_bias)), b.w3_weight, b.w3_bias);
  return ops::linear(ops::linear_gelu(x, b.plain.fc1_weight, b.plain.fc1_bias), b.plain.fc2_weight, b.plain.fc2_bias);
}

at::Tensor scaled_by(const at::Tensor& t, const at::Tensor& gamma) {
  return t.defined() ? t * (t.dim() == 2 ? gamma.unsqueeze(1) : gamma) : t;
}

/// The part of a branch's rows that runs: all, or the kept ones.
at::Tensor running(const at::Tensor& x, const BranchDraw& draw) {
  return draw.kept.defined() ? x.index_select(0, draw.kept) : x;
}

at::Tensor add_branch(const at::Tensor& x, const at::Tensor& branch, const BranchDraw& draw) {
  if (draw.kept.defined()) return x.index_add(0, draw.kept, branch, draw.gain);
  if (draw.scale.defined()) return x + branch * draw.scale.to(branch.scalar_type()).view({-1, 1, 1});
  return x + branch;
}

/// Groups as rows of one matrix and back.
struct Packed {
  at::Tensor rows;                             ///< [sum of B_i T_i, D]
  std::vector<std::array<int64_t, 2>> shapes;  ///< B_i, T_i
};

Packed pack(const std::vector<at::Tensor>& groups) {
  Packed packed;
  std::vector<at::Tensor> rows;
  for (const at::Tensor& x : groups) {
    packed.shapes.push_back({x.size(0), x.size(1)});
    rows.push_back(x.reshape({-1, x.size(2)}));
  }
  packed.rows = rows.size() == 1 ? rows.front() : at::cat(rows);
  return packed;
}

std::vector<at::Tensor> unpack(const at::Tensor& rows, const std::vector<std::array<int64_t, 2>>& shapes) {
  std::vector<int64_t> counts;
  counts.reserve(shapes.size());
  for (const auto& [batch, tokens] : shapes) counts.push_back(batch * tokens);
  // one split rather than a narrow for each: its gradient is one concatenation, that of a narrow is as large as all rows
  std::vector<at::Tensor> groups = rows.split_with_sizes(counts);
  for (size_t i = 0; i < groups.size(); ++i) groups[i] = groups[i].view({shapes[i][0], shapes[i][1], rows.size(1)});
  return groups;
}

std::vector<at::Tensor> packed_block(const VitBlock& b, const BlockContext& c, std::span<const TokenGroup> groups) {
  const ops::BlockWeights& w = b.plain;
  std::vector<at::Tensor> in, out;
  for (const TokenGroup& g : groups) in.push_back(running(g.x, g.draw1));
  Packed packed = pack(in);
  std::vector<RopeTable> tables;
  for (const TokenGroup& g : groups) tables.push_back(g.rope);
  const auto attention = [c, shapes = packed.shapes, tables](const Tensors& h, const Tensors& of) {
    Tensors mixed = unpack(ops::linear(h[0], of[0], of.size() > 3 ? of[3] : at::Tensor()), shapes);
    for (size_t i = 0; i < mixed.size(); ++i) mixed[i] = ops::attention(apply_rope(mixed[i], tables[i], c.heads, c.prefix), c.heads);
    return Tensors{ops::linear(pack(mixed).rows, of[1], of[2])};
  };
  const Tensors normed{ops::layer_norm(packed.rows, w.norm1_weight, w.norm1_bias, c.eps)}, weights = ops::attention_weights(w);
  Tensors branch = unpack((c.attention_again ? recompute(attention, normed, weights) : attention(normed, weights))[0], packed.shapes);
  for (size_t i = 0; i < groups.size(); ++i) out.push_back(add_branch(groups[i].x, branch[i], groups[i].draw1));

  in.clear();
  for (size_t i = 0; i < groups.size(); ++i) in.push_back(running(out[i], groups[i].draw2));
  packed = pack(in);
  branch = unpack(feed_forward(b, ops::layer_norm(packed.rows, w.norm2_weight, w.norm2_bias, c.eps)), packed.shapes);
  for (size_t i = 0; i < groups.size(); ++i) out[i] = add_branch(out[i], branch[i], groups[i].draw2);
  return out;
}

/// Where a block's tensors are, in order of execution.
template <class Block>
auto places(Block& b) {
  auto& w = b.plain;
  return std::array{&w.norm1_weight, &w.norm1_bias,   &w.qkv_weight, &w.qkv_bias,   &w.proj_weight, &w.proj_bias,
                    &b.scale1,       &w.norm2_weight, &w.norm2_bias, &w.fc1_weight, &w.fc1_bias,    &w.fc2_weight,
                    &w.fc2_bias,     &b.w12_weight,   &b.w12_bias,   &b.w3_weight,  &b.w3_bias,     &b.scale2};
}

/// Whether the fused block of ops.hpp computes this.
bool plain(const VitBlock& b, const TokenGroup& g) {
  return !b.w12_weight.defined() && b.plain.qkv_bias.defined() && !g.rope.defined() && !g.draw1.kept.defined() && !g.draw2.kept.defined();
}

}  // namespace

VitBlock folded(const VitBlock& block, const BlockContext& context) {
  VitBlock b = block;
  if (context.mask_key_bias && b.plain.qkv_bias.defined()) {
    const int64_t dim = b.plain.qkv_bias.size(0) / 3;
    const at::Tensor& bias = b.plain.qkv_bias;
    b.plain.qkv_bias = at::cat({bias.narrow(0, 0, dim), at::zeros({dim}, bias.options()), bias.narrow(0, 2 * dim, dim)});
  }
  if (!b.scale1.defined()) return b;
  // one gradient of gamma for each pass, weight and bias together: else sums over several passes depend on how a block is differentiated
  b.scale1 = b.scale1.view_as(b.scale1);
  b.scale2 = b.scale2.view_as(b.scale2);
  b.plain.proj_weight = scaled_by(b.plain.proj_weight, b.scale1);
  b.plain.proj_bias = scaled_by(b.plain.proj_bias, b.scale1);
  at::Tensor& last_weight = b.w12_weight.defined() ? b.w3_weight : b.plain.fc2_weight;
  at::Tensor& last_bias = b.w12_weight.defined() ? b.w3_bias : b.plain.fc2_bias;
  last_weight = scaled_by(last_weight, b.scale2);
  last_bias = scaled_by(last_bias, b.scale2);
  b.scale1 = b.scale2 = at::Tensor();
  return b;
}

std::vector<at::Tensor> block_forward(const VitBlock& block, const BlockContext& context, std::span<const TokenGroup> groups) {
  const VitBlock b = folded(block, context);
  if (groups.size() == 1 && plain(b, groups[0]))
    return {ops::transformer_block(groups[0].x, b.plain, context.heads, context.eps, groups[0].draw1.scale, groups[0].draw2.scale,
                                   context.attention_again)};
  return packed_block(b, context, groups);
}

at::Tensor block_forward_cls(const VitBlock& block, const BlockContext& context, const TokenGroup& group) {
  const VitBlock b = folded(block, context);
  if (plain(b, group)) return cls_block(group.x, b.plain, context.heads, context.eps, group.draw1.scale, group.draw2.scale);
  return packed_block(b, context, {&group, 1})[0].select(1, 0);
}

at::Tensor block_attention(const VitBlock& block, const BlockContext& context, const TokenGroup& group) {
  const VitBlock b = folded(block, context);
  const ops::BlockWeights& w = b.plain;
  const at::Tensor qkv =
      apply_rope(ops::linear(ops::layer_norm(group.x, w.norm1_weight, w.norm1_bias, context.eps), w.qkv_weight, w.qkv_bias), group.rope,
                 context.heads, context.prefix);
  const int64_t head_dim = qkv.size(2) / 3 / context.heads;
  const auto parts = qkv.view({qkv.size(0), qkv.size(1), 3, context.heads, head_dim}).permute({2, 0, 3, 1, 4}).unbind(0);
  return at::softmax(at::matmul(parts[0] * (1.0 / std::sqrt(static_cast<double>(head_dim))), parts[1].transpose(-2, -1)), -1);
}

std::vector<at::Tensor> block_tensors(const VitBlock& block) {
  std::vector<at::Tensor> tensors;
  for (const at::Tensor* t : places(block))
    if (t->defined()) tensors.push_back(*t);
  return tensors;
}

VitBlock with_tensors(VitBlock block, std::span<const at::Tensor> tensors) {
  auto next = tensors.begin();
  for (at::Tensor* t : places(block))
    if (t->defined()) *t = *next++;
  return block;
}

}  // namespace dinoxx
