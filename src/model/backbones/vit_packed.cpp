// Crops of several sizes through the blocks as rows of one matrix, where a GPU has own kernels for it (ops/packed.hpp).
#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "base/rng.hpp"
#include "base/stop_scope.hpp"
#include "model/layers/cls_block.hpp"
#include "model/layers/held_weights.hpp"
#include "model/layers/vit_block.hpp"
#include "ops/packed.hpp"
#include "vit.hpp"

namespace dinoxx {

struct VisionTransformer::PackedPass {
  at::Tensor x;  ///< [rows, D], after the blocks so far
  at::Tensor h;  ///< x after the norm that comes next, of the rows that its branch keeps; undefined: still to be computed
  ops::PackedRows rows;
  PackedDraws draws;
  std::vector<ops::PackedRotary> tables;  ///< of each group for all blocks, [sets, patches, head_dim / 2]
  int64_t first_sample = 0;               ///< of the draws' samples, where these rows are a part of what was drawn for

  ops::PackedBranch branch(size_t block, int which) const {
    ops::PackedBranch drawn = draws.of(block, which);
    const int64_t count = std::accumulate(rows.samples.begin(), rows.samples.end(), int64_t{0});
    if (drawn.gain.defined() && count < drawn.gain.size(0)) drawn.gain = drawn.gain.narrow(0, first_sample, count);
    return drawn;
  }

  /// Rotary positions of each group in a block.
  std::vector<ops::PackedRotary> rotary(size_t block) const {
    std::vector<ops::PackedRotary> of_block;
    for (const ops::PackedRotary& t : tables) {
      const auto set = static_cast<int64_t>(block) % t.cos.size(0);  // one for all, or one for each
      of_block.push_back({t.cos[set], t.sin[set]});
    }
    return of_block;
  }
  /// Rows as crops again, [B, T, D] of each group.
  std::vector<at::Tensor> unpacked(const at::Tensor& packed) const {
    std::vector<int64_t> counts;
    for (size_t i = 0; i < rows.samples.size(); ++i) counts.push_back(rows.samples[i] * rows.tokens[i]);
    std::vector<at::Tensor> groups = packed.split_with_sizes(counts);
    for (size_t i = 0; i < groups.size(); ++i) groups[i] = groups[i].view({rows.samples[i], rows.tokens[i], packed.size(1)});
    return groups;
  }
};

bool VisionTransformer::packs(size_t groups) const {
  return ops::packed_supported(cls_token_, config_.dim, config_.hidden_dim(), config_.heads, groups);
}

VisionTransformer::PackedPass VisionTransformer::start_packed(std::span<const Crops> crops) const {
  PackedPass pass;
  std::vector<at::Tensor> tokens;
  std::vector<PackedDraws::Group> draws;
  for (const Crops& c : crops) {
    const at::Tensor images = fitted(c.images), x = embed_tokens(images, c.masked);
    pass.rows.samples.push_back(x.size(0));
    pass.rows.tokens.push_back(x.size(1));
    draws.push_back({c.origin, x.size(0)});
    tokens.push_back(x.view({-1, x.size(2)}));
    if (config_.positions != "rope") continue;
    const Grid size = grid(images);
    std::vector<at::Tensor> centres;
    const size_t sets = c.origin && rope_drawn(config_.rope) ? blocks_.size() : 1;
    for (size_t block = 0; block < sets; ++block) {
      std::optional<CounterRng> rng;
      if (sets > 1) rng = rope_rng(c, block);
      centres.push_back(rope_centres(config_.rope, size.rows, size.columns, rng ? &*rng : nullptr));
    }
    pass.tables.push_back(ops::packed_rotary_tables(at::stack(centres), rope_frequency(config_.rope, config_.dim / config_.heads),
                                                    size.rows, size.columns, x.device()));
  }
  pass.x = tokens.size() == 1 ? tokens.front() : at::cat(tokens);
  pass.draws = PackedDraws(config_, draws, pass.x.device());
  return pass;
}

namespace {

bool local_in_training(std::span<const Crops> crops) {
  return std::any_of(crops.begin(), crops.end(), [](const Crops& c) { return c.local && c.origin; });
}

/// A block's weights with LayerScale and the masked key bias inside.
struct PackedBlock {
  at::Tensor qkv_weight, qkv_bias;
  ops::PackedWeights branches;
};

PackedBlock packed_weights(const VitBlock& b, bool mask_key_bias) {
  const ops::BlockWeights& w = b.plain;
  const bool swiglu = b.w12_weight.defined();
  ops::PackedFold fold{w.proj_weight,
                       w.proj_bias,
                       b.scale1,
                       swiglu ? b.w3_weight : w.fc2_weight,
                       swiglu ? b.w3_bias : w.fc2_bias,
                       b.scale2,
                       mask_key_bias ? w.qkv_bias : at::Tensor()};
  fold = ops::packed_fold(fold);
  return {w.qkv_weight,
          fold.qkv_bias.defined() ? fold.qkv_bias : w.qkv_bias,
          {fold.proj_weight, fold.proj_bias, w.norm2_weight, w.norm2_bias, swiglu ? b.w12_weight : w.fc1_weight,
           swiglu ? b.w12_bias : w.fc1_bias, fold.down_weight, fold.down_bias}};
}

/// From the normed tokens to attention's output of each group.
struct AttentionPart {
  ops::PackedRows rows;  ///< that run
  std::vector<ops::PackedRotary> rotary;
  int heads;
  int64_t prefix;

  Tensors mixed(const at::Tensor& h, const at::Tensor& qkv_weight, const at::Tensor& qkv_bias) const {
    Tensors mixed;
    const Tensors qkv = ops::packed_qkv(h, rows, qkv_weight, qkv_bias, heads, prefix, rotary);
    for (size_t i = 0; i < rows.samples.size(); ++i)
      mixed.push_back(at::scaled_dot_product_attention(qkv[3 * i], qkv[3 * i + 1], qkv[3 * i + 2])
                          .transpose(1, 2)
                          .reshape({rows.samples[i] * rows.tokens[i], h.size(1)}));
    return mixed;
  }
};

}  // namespace

void VisionTransformer::packed_block(size_t block, PackedPass& pass, const PackedNorm& next) const {
  StopScope::check();
  const ops::PackedBranch first = pass.branch(block, 0), second = pass.branch(block, 1);
  // in: x, and x normed where the block before has done that
  const auto run = [&b = blocks_[block], context = context(block), rows = pass.rows, rotary = pass.rotary(block), first, second, next](
                       const Tensors& in, const Tensors& of_block) {
    const VitBlock weights = with_tensors(b, of_block);
    PackedBlock w = packed_weights(weights, context.mask_key_bias);
    const at::Tensor h =
        in.size() > 1 ? in[1] : ops::packed_norm(in[0], rows, first, weights.plain.norm1_weight, weights.plain.norm1_bias, context.eps);
    const AttentionPart attention{ops::running_rows(rows, first), rotary, context.heads, context.prefix};
    Tensors mixed;
    if (context.attention_again) {
      const auto projected = [attention](const Tensors& normed, const Tensors& of) {
        return Tensors{ops::packed_projection(attention.mixed(normed[0], of[0], of.size() > 3 ? of[3] : at::Tensor()), of[1], of[2])};
      };
      Tensors again{w.qkv_weight, w.branches.proj_weight, w.branches.proj_bias};
      if (w.qkv_bias.defined()) again.push_back(w.qkv_bias);
      mixed = recompute(projected, {h}, again);
      w.branches.proj_weight = at::Tensor();
    } else {
      mixed = attention.mixed(h, w.qkv_weight, w.qkv_bias);
    }
    const ops::PackedOut out =
        ops::packed_branches(in[0], mixed, rows, w.branches, context.eps, first, second, {next.weight, next.bias, next.to});
    return out.h.defined() ? Tensors{out.x, out.h} : Tensors{out.x};
  };
  Tensors in{pass.x};
  if (pass.h.defined()) in.push_back(pass.h);
  const Tensors out = (recomputes(block) ? recompute : while_held)(run, in, block_tensors(blocks_[block]), holding(block));
  pass.x = out[0];
  pass.h = out.size() > 1 ? out[1] : at::Tensor();
}

void VisionTransformer::run_packed(PackedPass& pass, size_t begin, size_t end, const PackedNorm& last) const {
  for (size_t i = begin; i < end; ++i) {
    PackedNorm next = last;
    // x is all that is kept in front of and behind a block that is computed again; or the next block's weights are not here
    if (recomputes(i) || (i + 1 < blocks_.size() && recomputes(i + 1)) || hold_block_)
      next = {};
    else if (i + 1 < blocks_.size())
      next = {blocks_[i + 1].plain.norm1_weight, blocks_[i + 1].plain.norm1_bias, pass.branch(i + 1, 0)};
    packed_block(i, pass, next);
  }
}

at::Tensor VisionTransformer::packed_normed(const PackedPass& pass) const {
  if (!config_.final_norm) return pass.x;
  return pass.h.defined() ? pass.h : ops::packed_norm(pass.x, pass.rows, {}, norm_weight_, norm_bias_, config_.norm_eps);
}

std::vector<Features> VisionTransformer::packed_features(std::span<const Crops> crops) const {
  PackedPass pass = start_packed(crops);
  const bool local_norm = local_norm_weight_.defined() && local_in_training(crops);
  const bool one_norm = !cls_norm_weight_.defined() && !local_norm;
  run_packed(pass, 0, blocks_.size(), one_norm ? PackedNorm{norm_weight_, norm_bias_, {}} : PackedNorm{});
  std::vector<Features> features;
  if (one_norm) {
    for (const at::Tensor& tokens : pass.unpacked(packed_normed(pass))) features.push_back(split(tokens));
    return features;
  }
  const std::vector<at::Tensor> groups = pass.unpacked(pass.x);
  for (size_t i = 0; i < groups.size(); ++i) features.push_back(split(final_norm(groups[i], crops[i].local && crops[i].origin)));
  return features;
}

bool VisionTransformer::last_block_for_cls(std::span<const Crops> crops) const {
  const VitBlock& last = blocks_.back();
  const bool trained = std::any_of(crops.begin(), crops.end(), [](const Crops& c) { return c.origin != nullptr; });
  const bool subset = trained && config_.drop_path > 0 && config_.drop_path_form != "mask";
  const bool local_norm = local_norm_weight_.defined() && local_in_training(crops);
  return !last.w12_weight.defined() && last.plain.qkv_bias.defined() && config_.positions != "rope" && !subset && !local_norm;
}

at::Tensor VisionTransformer::packed_cls_of_last(const PackedPass& pass) const {
  const VitBlock& last = blocks_.back();
  const size_t i = blocks_.size() - 1;
  const ops::PackedBranch first = pass.branch(i, 0), second = pass.branch(i, 1);
  const at::Tensor h = pass.h.defined()
                           ? pass.h
                           : ops::packed_norm(pass.x, pass.rows, first, last.plain.norm1_weight, last.plain.norm1_bias, config_.norm_eps);
  const PackedBlock w = packed_weights(last, config_.mask_key_bias);
  std::vector<at::Tensor> rows, mixed;
  for (const at::Tensor& x : pass.unpacked(pass.x)) rows.push_back(x.select(1, 0));
  for (const at::Tensor& tokens : pass.unpacked(h)) mixed.push_back(cls_attention(tokens, w.qkv_weight, w.qkv_bias, config_.heads));
  const at::Tensor &weight = cls_norm_weight_.defined() ? cls_norm_weight_ : norm_weight_,
                   &bias = cls_norm_weight_.defined() ? cls_norm_bias_ : norm_bias_;
  const ops::PackedRows one_token{pass.rows.samples, std::vector<int64_t>(rows.size(), 1)};
  const ops::PackedOut out = ops::packed_branches(rows.size() == 1 ? rows.front() : at::cat(rows), mixed, one_token, w.branches,
                                                  config_.norm_eps, first, second, {weight, bias, {}});
  return config_.final_norm ? out.h : out.x;
}

std::vector<at::Tensor> VisionTransformer::packed_cls(std::span<const Crops> crops) const {
  if (!last_block_for_cls(crops)) {
    std::vector<at::Tensor> cls;
    for (const Features& f : packed_features(crops)) cls.push_back(f.cls);
    return cls;
  }
  PackedPass pass = start_packed(crops);
  run_packed(pass, 0, blocks_.size() - 1, {});
  return packed_cls_of_last(pass).split_with_sizes(pass.rows.samples);
}

std::vector<Features> VisionTransformer::packed_first_and_cls(std::span<const Crops> crops) const {
  if (crops.size() == 1 || cls_norm_weight_.defined() || !last_block_for_cls(crops)) return packed_features(crops);
  PackedPass all = start_packed(crops);
  run_packed(all, 0, blocks_.size() - 1, {});
  PackedPass first = all, others = all;
  first.rows = {{all.rows.samples[0]}, {all.rows.tokens[0]}};
  others.rows.samples.erase(others.rows.samples.begin());
  others.rows.tokens.erase(others.rows.tokens.begin());
  others.first_sample = all.rows.samples[0];
  const std::vector<int64_t> counts{first.rows.rows(), others.rows.rows()};
  const std::vector<at::Tensor> x = all.x.split_with_sizes(counts);
  first.x = x[0], others.x = x[1];
  if (all.h.defined()) {
    const std::vector<at::Tensor> h = all.h.split_with_sizes(counts);
    first.h = h[0], others.h = h[1];
  }
  run_packed(first, blocks_.size() - 1, blocks_.size(), {norm_weight_, norm_bias_, {}});
  std::vector<Features> features{split(first.unpacked(packed_normed(first))[0])};
  for (const at::Tensor& cls : packed_cls_of_last(others).split_with_sizes(others.rows.samples)) features.push_back({cls, {}, {}});
  return features;
}

}  // namespace dinoxx
