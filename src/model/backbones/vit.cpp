#include "vit.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "base/stop_scope.hpp"
#include "dinoxx/base/error.hpp"
#include "model/layers/held_weights.hpp"
#include "model/layers/vit_block.hpp"

namespace dinoxx {

namespace {

/// Without their tokens: what outlives a call holds no activations.
std::vector<TokenGroup> bare(std::vector<TokenGroup> groups) {
  for (TokenGroup& group : groups) group.x = at::Tensor();
  return groups;
}

}  // namespace

BlockContext VisionTransformer::context(size_t block) const {
  return {config_.heads, config_.norm_eps, config_.mask_key_bias, config_.prefix(),
          config_.recompute.of(static_cast<int64_t>(block)) == "attention"};
}

TokenGroup VisionTransformer::group(const Crops& crops) const {
  const at::Tensor images = fitted(crops.images);
  TokenGroup group;
  group.x = embed_tokens(images, crops.masked);
  group.draws = BranchDraws(config_, crops.origin, group.x.size(0), 2, group.x.options());
  if (config_.positions == "rope") {
    const Grid size = grid(images);
    group.rope = rope_table(config_.rope, config_.dim / config_.heads, size.rows, size.columns, group.x.options());
  }
  return group;
}

CounterRng VisionTransformer::rope_rng(const Crops& crops, size_t block) const {
  const uint32_t lane = static_cast<uint32_t>(crops.origin->first_view) * 256 + static_cast<uint32_t>(block);
  return CounterRng(crops.origin->seed, crops.origin->step, lane, Purpose::kRope);
}

void VisionTransformer::prepare(size_t block, TokenGroup& group, const Crops& crops) const {
  group.draw1 = group.draws.of(block, 0);
  group.draw2 = group.draws.of(block, 1);
  if (config_.positions != "rope" || !crops.origin || !rope_drawn(config_.rope)) return;
  CounterRng rng = rope_rng(crops, block);
  const Grid size = grid(fitted(crops.images));
  group.rope = rope_table(config_.rope, config_.dim / config_.heads, size.rows, size.columns, group.x.options(), &rng);
}

Hold VisionTransformer::holding(size_t block) const {
  if (!hold_block_) return {};
  return [this, block](bool backward) { return hold_block_(block, backward); };
}

void VisionTransformer::run_block(size_t block, std::vector<TokenGroup>& groups, std::span<const Crops> crops) const {
  StopScope::check();  // a forward of many images may take minutes
  Tensors inputs;
  for (size_t i = 0; i < groups.size(); ++i) {
    prepare(block, groups[i], crops[i]);
    inputs.push_back(groups[i].x);
  }
  const Tensors weights = block_tensors(blocks_[block]);
  const auto run = [&b = blocks_[block], context = context(block), drawn = bare(groups)](const Tensors& x, const Tensors& of_block) {
    std::vector<TokenGroup> in = drawn;
    for (size_t i = 0; i < x.size(); ++i) in[i].x = x[i];
    return block_forward(with_tensors(b, of_block), context, in);
  };
  const Tensors outputs = (recomputes(block) ? recompute : while_held)(run, inputs, weights, holding(block));
  for (size_t i = 0; i < groups.size(); ++i) groups[i].x = outputs[i];
}

at::Tensor VisionTransformer::final_norm(const at::Tensor& x, bool local_in_training) const {
  if (!config_.final_norm) return x;
  const auto norm = [&](const at::Tensor& t, const at::Tensor& weight, const at::Tensor& bias) {
    return ops::layer_norm(t, weight, bias, config_.norm_eps);
  };
  const bool local = local_in_training && local_norm_weight_.defined();
  if (!local && !cls_norm_weight_.defined()) return norm(x, norm_weight_, norm_bias_);
  const int64_t prefix = std::min<int64_t>(config_.prefix(), x.size(1));
  const at::Tensor head = x.narrow(1, 0, prefix).contiguous();
  const at::Tensor first = local ? norm(head, local_norm_weight_, local_norm_bias_) : norm(head, cls_norm_weight_, cls_norm_bias_);
  if (x.size(1) == prefix) return first;
  return at::cat({first, norm(x.narrow(1, prefix, x.size(1) - prefix).contiguous(), norm_weight_, norm_bias_)}, 1);
}

Features VisionTransformer::split(const at::Tensor& tokens) const {
  const int64_t prefix = config_.prefix();
  return {tokens.select(1, 0), tokens.narrow(1, prefix, tokens.size(1) - prefix), tokens.narrow(1, 1, config_.registers)};
}

at::Tensor VisionTransformer::forward(const at::Tensor& images, const RowOrigin* origin) const {
  const Crops crops{images, origin, {}, false};
  if (packs(1)) return packed_cls({&crops, 1})[0];
  std::vector<TokenGroup> groups{group(crops)};
  const size_t last = blocks_.size() - 1;
  for (size_t i = 0; i < last; ++i) run_block(i, groups, {&crops, 1});
  prepare(last, groups[0], crops);
  const at::Tensor cls = block_forward_cls(blocks_[last], context(last), groups[0]);
  return final_norm(cls.unsqueeze(1), false).squeeze(1);
}

at::Tensor VisionTransformer::forward_tokens(const at::Tensor& images, const RowOrigin* origin) const {
  const Crops crops{images, origin, {}, false};
  std::vector<TokenGroup> groups{group(crops)};
  for (size_t i = 0; i < blocks_.size(); ++i) run_block(i, groups, {&crops, 1});
  return final_norm(groups[0].x, false);
}

Features VisionTransformer::forward_features(const Crops& crops) const {
  return forward_packed({&crops, 1})[0];
}

std::vector<Features> VisionTransformer::forward_packed(std::span<const Crops> crops) const {
  if (packs(crops.size())) return packed_features(crops);
  std::vector<TokenGroup> groups;
  for (const Crops& c : crops) groups.push_back(group(c));
  for (size_t i = 0; i < blocks_.size(); ++i) run_block(i, groups, crops);
  std::vector<Features> features;
  for (size_t i = 0; i < groups.size(); ++i) features.push_back(split(final_norm(groups[i].x, crops[i].local && crops[i].origin)));
  return features;
}

std::vector<Features> VisionTransformer::forward_crops(std::span<const Crops> crops, bool patches) const {
  if (packs(crops.size()) && patches) return packed_first_and_cls(crops);
  std::vector<Features> features;
  if (packs(crops.size())) {
    for (const at::Tensor& cls : packed_cls(crops)) features.push_back({cls, {}, {}});
    return features;
  }
  for (size_t i = 0; i < crops.size(); ++i) {
    const bool local_norm = crops[i].local && crops[i].origin && local_norm_weight_.defined();
    if ((i == 0 && patches) || local_norm)
      features.push_back(forward_features(crops[i]));
    else
      features.push_back({forward(crops[i].images, crops[i].origin), {}, {}});
  }
  return features;
}

std::vector<Features> VisionTransformer::last_blocks(const at::Tensor& images, int n, bool normed) const {
  if (n < 1 || n > config_.depth)
    fail_usage("last blocks", fmt::format("1 to {} blocks", config_.depth), std::to_string(n), "Ask for as many as the network has");
  const Crops crops{images, nullptr, {}, false};
  std::vector<TokenGroup> groups{group(crops)};
  std::vector<Features> features;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    run_block(i, groups, {&crops, 1});
    if (blocks_.size() - i <= static_cast<size_t>(n)) features.push_back(split(normed ? final_norm(groups[0].x, false) : groups[0].x));
  }
  return features;
}

at::Tensor VisionTransformer::last_attention(const at::Tensor& images) const {
  const Crops crops{images, nullptr, {}, false};
  std::vector<TokenGroup> groups{group(crops)};
  const size_t last = blocks_.size() - 1;
  for (size_t i = 0; i < last; ++i) run_block(i, groups, {&crops, 1});
  return block_attention(blocks_[last], context(last), groups[0]);
}

}  // namespace dinoxx
