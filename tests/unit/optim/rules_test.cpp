#include "optim/rules.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dinoxx/base/error.hpp"
#include "optim/adamw.hpp"
#include "optim/clip.hpp"
#include "optim/schedule.hpp"
#include "optim/sgd.hpp"
#include "toy_network.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;
using testing::HasSubstr;
using testing::ThrowsMessage;

NamedTensors named(const std::vector<std::string>& names) {
  NamedTensors all;
  for (const std::string& name : names) all.push_back({name, at::zeros({2, 3})});
  return all;
}

double rate_of(const ParamLayout& layout, const std::vector<SegmentRule>& rules, const std::string& name) {
  for (size_t s = 0; s < rules.size(); ++s)
    if (layout.segments[s].name == name) return rules[s].lr_scale;
  throw Error("no segment " + name);
}

TEST(SegmentRules, LayersOfTransformersAndConvolutionalNetworks) {
  EXPECT_EQ(layer_of("backbone.pos_embed", 12), 0);
  EXPECT_EQ(layer_of("backbone.storage_tokens", 12), 0);
  EXPECT_EQ(layer_of("backbone.patch_embed.proj.bias", 12), 0);
  EXPECT_EQ(layer_of("backbone.blocks.0.norm1.weight", 12), 1);
  EXPECT_EQ(layer_of("backbone.blocks.11.mlp.fc2.weight", 12), 12);
  EXPECT_EQ(layer_of("backbone.norm.weight", 12), 13);
  EXPECT_EQ(layer_of("dino_head.mlp.0.weight", 12), 13);
  EXPECT_EQ(layer_of("projector.blocks.3.weight", 12), 13) << "not the backbone's";
  EXPECT_EQ(layer_of("backbone.downsample_layers.0.1.weight", 4), 0);
  EXPECT_EQ(layer_of("backbone.downsample_layers.2.0.weight", 4), 3);
  EXPECT_EQ(layer_of("backbone.stages.2.5.pwconv1.weight", 4), 3);
  EXPECT_EQ(layer_of("backbone.conv1.weight", 4), 0);
  EXPECT_EQ(layer_of("backbone.layer1.0.bn2.weight", 4), 1);
  EXPECT_EQ(layer_of("backbone.layer4.1.conv1.weight", 4), 4);
}

TEST(SegmentRules, RatesFallWithTheDepth) {
  const ParamLayout resnet = ParamLayout::build(
      named({"backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "backbone.layer4.1.conv2.weight", "head.mlp.0.weight"}));
  EXPECT_EQ(layer_count(resnet), 4);
  const auto rules = segment_rules(resnet, {.layer_decay = 0.5});
  EXPECT_EQ(rate_of(resnet, rules, "backbone.conv1.weight"), 1.0 / 32);
  EXPECT_EQ(rate_of(resnet, rules, "backbone.layer1.0.conv1.weight"), 1.0 / 16);
  EXPECT_EQ(rate_of(resnet, rules, "backbone.layer4.1.conv2.weight"), 0.5);
  EXPECT_EQ(rate_of(resnet, rules, "head.mlp.0.weight"), 1);
  const ParamLayout head = ParamLayout::build(named({"head.mlp.0.weight"}));
  EXPECT_EQ(layer_count(head), 0);
  EXPECT_EQ(rate_of(head, segment_rules(head, {.layer_decay = 0.5}), "head.mlp.0.weight"), 1);
}

TEST(Thaw, LayersBeginFromTheLastOneAndTheirRatesRise) {
  const ParamLayout vit =
      ParamLayout::build(named({"backbone.pos_embed", "backbone.blocks.0.norm1.bias", "backbone.blocks.1.attn.qkv.weight",
                                "backbone.blocks.2.mlp.fc1.weight", "backbone.norm.weight", "head.mlp.0.weight"}));
  const auto rates = [&](const Thaw& thaw) {
    auto rules = segment_rules(vit, {});
    apply_thaw(vit, thaw, rules);
    std::vector<double> found;
    for (const char* name : {"backbone.pos_embed", "backbone.blocks.0.norm1.bias", "backbone.blocks.1.attn.qkv.weight",
                             "backbone.blocks.2.mlp.fc1.weight", "backbone.norm.weight", "head.mlp.0.weight"})
      for (size_t s = 0; s < rules.size(); ++s)
        if (vit.segments[s].name == name) found.push_back(rules[s].frozen ? -1 : rules[s].lr_scale);
    return found;
  };
  using testing::ElementsAre;
  EXPECT_THAT(rates({.share = 0}), ElementsAre(-1, -1, -1, -1, -1, 1));
  EXPECT_THAT(rates({.share = 0.125}), ElementsAre(-1, -1, -1, 0.5, 0.5, 1)) << "four layers with the embedding";
  EXPECT_THAT(rates({.share = 0.625}), ElementsAre(-1, 0.5, 1, 1, 1, 1));
  EXPECT_THAT(rates({}), ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT(rates({.share = 0.75, .last_blocks = 2}), ElementsAre(-1, -1, 0.5, 1, 1, 1));
  EXPECT_THAT(rates({.last_blocks = 2}), ElementsAre(-1, -1, 1, 1, 1, 1));
  EXPECT_THAT(rates({.last_blocks = 9}), ElementsAre(-1, 1, 1, 1, 1, 1)) << "more than there are: all blocks, not the embedding";
  EXPECT_THAT(rates({.block_matrices = true}), ElementsAre(-1, -1, 1, 1, -1, 1));
}

TEST(SegmentRules, DecayByNameAndRefusals) {
  const ParamLayout layout =
      ParamLayout::build(named({"backbone.blocks.0.w", "dino_head.mlp.0.weight", "dino_head.mlp.0.bias", "ibot_head.mlp.0.weight"}));
  const auto rules = segment_rules(layout, {.exclusion = DecayExclusion::kName});
  std::map<std::string, double> decay;
  for (size_t s = 0; s < rules.size(); ++s) decay[layout.segments[s].name] = rules[s].wd_scale;
  EXPECT_EQ(decay,
            (std::map<std::string, double>{
                {"backbone.blocks.0.w", 1}, {"dino_head.mlp.0.weight", 1}, {"dino_head.mlp.0.bias", 0}, {"ibot_head.mlp.0.weight", 1}}));
  EXPECT_THROW(segment_rules(layout, {.layer_decay = 0}), UsageError);
  EXPECT_THROW(segment_rules(layout, {.layer_decay = 1.1}), UsageError);
  EXPECT_THROW(segment_rules(layout, {.patch_embed_lr = -1}), UsageError);
}

struct Training {
  explicit Training(at::ScalarType compute = at::kFloat) : network(4, 300, at::kFloat) {
    network.parameters[6].name = "head.last_layer.weight_v";
    network.parameters[7].name = "head.last_layer.bias";
    layout = ParamLayout::build(network.parameters);
    state.emplace(layout, network.parameters, true, at::kFloat, compute);
    for (const Segment& s : layout.segments)
      state->grad.narrow(0, s.offset, s.numel).copy_(at::sin(at::arange(s.numel, at::kDouble) * 0.731 + static_cast<double>(s.offset)));
  }
  at::Tensor of(const at::Tensor& flat, const std::string& name) const {
    for (const Segment& s : layout.segments)
      if (s.name == name) return flat.narrow(0, s.offset, s.numel);
    throw Error("no segment " + name);
  }
  ToyNetwork network;
  ParamLayout layout;
  std::optional<FlatState> state;
};

std::vector<OptimizerConfig> all_optimizers() {
  std::vector<OptimizerConfig> all;
  for (const std::string& name : optimizer_names()) all.emplace_back().name = name;
  all.emplace_back().name = "lars";
  all.back().lars = {.trust = 0.02, .ratio = LarsConfig::Ratio::kSum, .clip_lr = true};
  return all;
}

TEST(Optimizers, ALayerAtRateZeroStaysButItsMomentsMove) {
  for (const OptimizerConfig& config : all_optimizers()) {
    for (const bool skip : {true, false}) {
      Training t;
      const auto optimizer = make_optimizer(config, t.layout, at::kFloat);
      const auto rules = segment_rules(t.layout, {.last_layer = skip ? LastLayerFreeze::kSkip : LastLayerFreeze::kZeroRate});
      const at::Tensor before = t.state->master.clone();
      optimizer->step(t.layout, *t.state, 0.01, 0.1, rules);
      EXPECT_TRUE(at::equal(t.of(before, "head.last_layer.weight_v"), t.of(t.state->master, "head.last_layer.weight_v")));
      EXPECT_FALSE(at::equal(t.of(before, "layers.1.weight"), t.of(t.state->master, "layers.1.weight")));
      for (const auto& [name, tensor] : optimizer->named_state())
        EXPECT_EQ(t.of(tensor, "head.last_layer.weight_v").abs().sum().item<float>() == 0, skip) << config.name << ", " << name;
      for (size_t s = 0; s < t.layout.segments.size(); ++s)
        EXPECT_EQ(optimizer->segment_steps[s], skip && t.layout.segments[s].last_layer ? 0 : 1);
    }
  }
}

TEST(Optimizers, DoNotDependOnThreadsPublishAndLeaveThePadding) {
  for (const OptimizerConfig& config : all_optimizers()) {
    at::Tensor masters;
    for (const int threads : {1, 3}) {
      at::set_num_threads(threads);
      Training t(at::kBFloat16);
      const auto optimizer = make_optimizer(config, t.layout, at::kFloat);
      for (int step = 0; step < 3; ++step) optimizer->step(t.layout, *t.state, 0.01, 0.1, segment_rules(t.layout, {}));
      EXPECT_TRUE(at::equal(t.state->compute, t.state->master.to(at::kBFloat16))) << config.name;
      at::Tensor inside = at::zeros_like(t.state->master);
      for (const Segment& s : t.layout.segments) inside.narrow(0, s.offset, s.numel).copy_(t.state->master.narrow(0, s.offset, s.numel));
      EXPECT_TRUE(at::equal(inside, t.state->master)) << config.name;
      EXPECT_TRUE(!masters.defined() || at::equal(masters, t.state->master)) << config.name;
      masters = t.state->master.clone();
    }
    at::set_num_threads(1);
  }
}

TEST(Optimizers, RefuseWhatIsNotTheirs) {
  Training t;
  for (const OptimizerConfig& config : all_optimizers()) {
    const auto optimizer = make_optimizer(config, t.layout, at::kFloat), other = make_optimizer(config, t.layout, at::kDouble);
    EXPECT_THAT([&] { other->step(t.layout, *t.state, 0.1, 0, segment_rules(t.layout, {})); },
                ThrowsMessage<Error>(HasSubstr("another network")));
    EXPECT_THAT([&] { optimizer->step(t.layout, *t.state, 0.1, 0, {}); }, ThrowsMessage<Error>(HasSubstr("one rule for each")));
  }
  OptimizerConfig unknown;
  unknown.name = "adam";
  EXPECT_THAT([&] { make_optimizer(unknown, t.layout, at::kFloat); }, ThrowsMessage<UsageError>(HasSubstr("Did you mean adamw?")));
}

// What facebookresearch/dino's class does to a parameter of zeros: rate 1, a plain step.
TEST(Lars, StepsFromZeroWithoutARate) {
  Training t;
  t.of(t.state->master, "layers.0.weight").zero_();
  OptimizerConfig config;
  config.name = "lars";
  make_optimizer(config, t.layout, at::kFloat)->step(t.layout, *t.state, 0.5, 0.1, segment_rules(t.layout, {}));
  EXPECT_TRUE(at::equal(t.of(t.state->master, "layers.0.weight"), -0.5 * t.of(t.state->grad, "layers.0.weight")));
}

TEST(ClipPerModule, EachByItsOwnNormWithoutWhatIsSkipped) {
  Training t;
  const auto norm = [&](const at::Tensor& flat, const std::string& prefix) {
    double squares = 0;
    for (const Segment& s : t.layout.segments)
      if (s.name.starts_with(prefix)) squares += t.of(flat, s.name).to(at::kDouble).square().sum().item<double>();
    return std::sqrt(squares);
  };
  const at::Tensor before = t.state->grad.clone();
  const double layers = norm(before, "layers."), head = norm(before, "head."), clip = (layers + head) / 2;
  ASSERT_LT(head, clip);
  const auto rules = segment_rules(t.layout, {.last_layer = LastLayerFreeze::kZeroRate});
  EXPECT_NEAR(clip_per_module(t.layout, *t.state, 0, rules), std::hypot(layers, head), 1e-9 * layers);
  EXPECT_TRUE(at::equal(before, t.state->grad));
  EXPECT_NEAR(clip_per_module(t.layout, *t.state, clip, rules), std::hypot(layers, head), 1e-9 * layers);
  EXPECT_NEAR(norm(t.state->grad, "layers."), clip, 1e-5 * clip);
  EXPECT_TRUE(at::equal(t.of(before, "head.last_layer.weight_v"), t.of(t.state->grad, "head.last_layer.weight_v")));

  t.state->grad.copy_(before);
  const auto skipping = segment_rules(t.layout, {.last_layer = LastLayerFreeze::kSkip});
  EXPECT_NEAR(clip_per_module(t.layout, *t.state, 1e-3, skipping), layers, 1e-9 * layers);
  EXPECT_TRUE(at::equal(t.of(before, "head.last_layer.weight_v"), t.of(t.state->grad, "head.last_layer.weight_v")));

  t.of(t.state->grad, "head.last_layer.bias")[0] = std::nan("");
  const at::Tensor poisoned = t.of(t.state->grad, "head.last_layer.weight_v").clone();
  EXPECT_TRUE(std::isnan(clip_per_module(t.layout, *t.state, 1e-3, rules)));
  EXPECT_TRUE(at::equal(poisoned, t.of(t.state->grad, "head.last_layer.weight_v")));
}

TEST(LrRules, AreThePublishedOnes) {
  EXPECT_EQ(scaled_lr(lr_rule("none"), 0.3, 4096), 0.3);
  EXPECT_EQ(scaled_lr(lr_rule("linear_256"), 5e-4, 1024), 2e-3);
  EXPECT_DOUBLE_EQ(scaled_lr(lr_rule("sqrt_1024"), 4e-3, 4096), 8e-3);
  EXPECT_DOUBLE_EQ(scaled_lr(lr_rule("4sqrt_1024"), 1e-3, 4096), 8e-3);
  EXPECT_THAT([] { lr_rule("linear256"); }, ThrowsMessage<UsageError>(HasSubstr("Did you mean linear_256?")));
  EXPECT_THROW(scaled_lr(LrRule::kNone, 1, 0), UsageError);
}

}  // namespace
}  // namespace dinoxx
