#include "rules.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The number after the first `prefix` of a name ("blocks." of "backbone.blocks.3.attn.qkv.weight"); -1 when there is none.
int number_after(std::string_view name, std::string_view prefix) {
  const size_t at = name.find(prefix);
  if (at == std::string_view::npos) return -1;
  const std::string_view rest = name.substr(at + prefix.size());
  int number = -1;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  return error == std::errc() && end != rest.data() + rest.size() && *end == '.' ? number : -1;
}

/// Index of the block or stage that a backbone's parameter belongs to; -1 for none. ConvNeXt's downsampling layers belong to the stage that
/// they lead to, its stem (layer 0) is an embedding.
int block_of(std::string_view name) {
  for (const std::string_view prefix : {".blocks.", ".stages."})
    if (const int block = number_after(name, prefix); block >= 0) return block;
  if (const int stage = number_after(name, ".layer"); stage >= 1) return stage - 1;
  if (const int stage = number_after(name, ".downsample_layers."); stage >= 1) return stage;
  return -1;
}

bool is_embedding(std::string_view name) {
  for (const std::string_view part :
       {".pos_embed", ".patch_embed", ".mask_token", ".cls_token", ".register_tokens", ".storage_tokens", ".downsample_layers.0."})
    if (contains(name, part)) return true;
  return name.starts_with("backbone.conv1.") || name.starts_with("backbone.bn1.");
}

bool decays(const Segment& segment, DecayExclusion exclusion) {
  if (exclusion == DecayExclusion::kShape) return segment.decay;
  return !segment.name.ends_with("bias") && !contains(segment.name, "norm") && !contains(segment.name, "gamma");
}

}  // namespace

int layer_of(const std::string& name, int layers) {
  if (!name.starts_with("backbone.")) return layers + 1;
  if (is_embedding(name)) return 0;
  const int block = block_of(name);
  return block >= 0 ? block + 1 : layers + 1;
}

int layer_count(const ParamLayout& layout) {
  int count = 0;
  for (const Segment& segment : layout.segments)
    if (segment.name.starts_with("backbone.")) count = std::max(count, block_of(segment.name) + 1);
  return count;
}

bool is_block_matrix(const Segment& segment) {
  return segment.shape.size() == 2 && segment.name.starts_with("backbone.blocks.") && segment.name.ends_with(".weight");
}

void apply_thaw(const ParamLayout& layout, const Thaw& thaw, std::vector<SegmentRule>& rules) {
  const int layers = layer_count(layout), learning = thaw.last_blocks > 0 ? std::min(thaw.last_blocks, layers) : layers + 1;
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment& segment = layout.segments[s];
    if (!segment.name.starts_with("backbone.")) continue;
    const int in_front = std::max(layers - layer_of(segment.name, layers), 0);  // the last norm goes with the last block
    const double rate = in_front < learning ? std::clamp(learning * thaw.share - in_front, 0.0, 1.0) : 0.0;
    rules[s].lr_scale *= rate;
    if (rate == 0 || (thaw.block_matrices && !is_block_matrix(segment))) rules[s].frozen = true;
  }
}

std::vector<SegmentRule> segment_rules(const ParamLayout& layout, const RuleOptions& options) {
  if (!(options.layer_decay > 0 && options.layer_decay <= 1))
    fail_usage("layer-wise learning-rate decay", "a factor above 0, at most 1", fmt::format("{}", options.layer_decay), "1 turns it off");
  if (!(options.patch_embed_lr >= 0))
    fail_usage("learning-rate factor of the patch embedding", "at least 0", fmt::format("{}", options.patch_embed_lr),
               "Correct the factor");
  const int layers = layer_count(layout);
  std::vector<SegmentRule> rules;
  for (const Segment& segment : layout.segments) {
    SegmentRule rule;
    rule.lr_scale = std::pow(options.layer_decay, layers + 1 - layer_of(segment.name, layers));
    if (contains(segment.name, "patch_embed")) rule.lr_scale *= options.patch_embed_lr;
    rule.adapt = decays(segment, options.exclusion);
    if (!rule.adapt) rule.wd_scale = 0;
    if (segment.last_layer && options.last_layer == LastLayerFreeze::kSkip) rule.frozen = true;
    if (segment.last_layer && options.last_layer == LastLayerFreeze::kZeroRate) rule.lr_scale = 0;
    rules.push_back(rule);
  }
  return rules;
}

}  // namespace dinoxx
