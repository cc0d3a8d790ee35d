// Parameter groups, AdamW with layer-wise rates, SGD, LARS, clipping by module and schedules against the published code of DINOv2, DINOv3,
// DINO and solo-learn and against torch.optim (make_optim_methods.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.hpp"
#include "optim/clip.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"

namespace dinoxx {
namespace {

constexpr int kSteps = 10, kFrozenSteps = 4;
constexpr double kClip = 1.5;
bool stored(int step) {
  return step == 0 || step == 4 || step == 9;
}

const golden::Fixture& fixture() {
  static const golden::Fixture file("optim_methods");
  return file;
}
std::vector<double> doubles(const std::string& name) {
  const at::Tensor t = fixture().tensor(name);
  return {t.data_ptr<double>(), t.data_ptr<double>() + t.numel()};
}

NamedTensors network(at::ScalarType type) {
  NamedTensors all;
  const auto add = [&](const std::string& name, at::IntArrayRef shape) { all.push_back({name, at::zeros(shape, type)}); };
  add("backbone.cls_token", {1, 1, 4});
  add("backbone.pos_embed", {1, 3, 4});
  add("backbone.register_tokens", {1, 2, 4});
  add("backbone.mask_token", {1, 4});
  add("backbone.patch_embed.proj.weight", {4, 3, 2, 2});
  add("backbone.patch_embed.proj.bias", {4});
  for (int i = 0; i < 3; ++i) {
    const std::string block = fmt::format("backbone.blocks.{}.", i);
    add(block + "norm1.weight", {4});
    add(block + "norm1.bias", {4});
    add(block + "attn.qkv.weight", {12, 4});
    add(block + "attn.qkv.bias", {12});
    add(block + "ls1.gamma", {4});
    add(block + "mlp.gain", {4});  // one dimension, but neither bias nor norm by its name
  }
  add("backbone.norm.weight", {4});
  add("backbone.norm.bias", {4});
  for (const std::string head : {"dino_head.", "ibot_head."}) {
    add(head + "mlp.0.weight", {6, 4});
    add(head + "mlp.0.bias", {6});
    add(head + "last_layer.weight_g", {5, 1});
    add(head + "last_layer.weight_v", {5, 6});
  }
  golden::fill_parameters(all);
  return all;
}

at::Tensor gradient(int step, const NamedTensor& p) {
  const bool large = p.name.find("blocks.1") != std::string::npos || p.name.starts_with("ibot_head");
  return (large ? 1.0 : 0.1) * golden::uniform(fmt::format("gradient{}/{}", step, p.name), p.tensor.sizes()) * (1 + 0.3 * step);
}

at::Tensor together(const NamedTensors& parameters) {
  std::vector<at::Tensor> flat;
  for (const NamedTensor& p : parameters) flat.push_back(p.tensor.detach().to(at::kDouble).reshape(-1));
  return at::cat(flat);
}

RuleOptions dinov2_options(LastLayerFreeze last_layer) {
  return {.exclusion = DecayExclusion::kName, .layer_decay = 0.8, .patch_embed_lr = 0.2, .last_layer = last_layer};
}

TEST(GoldenGroups, EveryParameterHasThePublishedFactors) {
  for (const char* version : {"dinov2", "dinov3"}) {
    NamedTensors parameters = network(at::kDouble);
    if (version == std::string("dinov3")) {  // no learned positions, registers under another name
      parameters.erase(parameters.begin() + 1);
      parameters[1].name = "backbone.storage_tokens";
    }
    const ParamLayout layout = ParamLayout::build(parameters, 4 << 20, false);
    const std::vector<SegmentRule> rules = segment_rules(layout, dinov2_options(LastLayerFreeze::kZeroRate));
    for (size_t s = 0; s < layout.segments.size(); ++s) {
      const std::vector<double> expected = doubles(fmt::format("groups/{}/{}", version, layout.segments[s].name));
      EXPECT_NEAR(rules[s].lr_scale, expected[2] != 0 ? 0 : expected[0], 1e-15) << layout.segments[s].name;
      EXPECT_EQ(rules[s].wd_scale, expected[1]) << layout.segments[s].name;
      EXPECT_FALSE(rules[s].frozen);
    }
  }
}

class GoldenMethods : public testing::TestWithParam<at::ScalarType> {
 protected:
  GoldenMethods() : parameters_(network(GetParam())), layout_(ParamLayout::build(parameters_, 4 << 20, false)) {}
  void set_gradients(FlatState& state, int step, const std::string& silent = "") {
    at::NoGradGuard no_grad;
    state.zero_grad();
    for (const NamedTensor& p : parameters_)
      if (p.name != silent) p.tensor.mutable_grad().copy_(gradient(step, p));
  }
  double tolerance() const { return GetParam() == at::kDouble ? 1e-9 : 1e-5; }
  NamedTensors parameters_;
  ParamLayout layout_;
};
INSTANTIATE_TEST_SUITE_P(, GoldenMethods, testing::Values(at::kDouble, at::kFloat), testing::PrintToStringParamName());

TEST_P(GoldenMethods, AdamWWithLayerDecayClippedByModule) {
  FlatState state(layout_, parameters_, true, GetParam());
  const auto optimizer = make_optimizer({.name = "adamw", .adamw = {.beta1 = 0.9, .beta2 = 0.99}}, layout_, GetParam());
  for (int step = 0; step < kSteps; ++step) {
    const auto rules = segment_rules(layout_, dinov2_options(step < kFrozenSteps ? LastLayerFreeze::kZeroRate : LastLayerFreeze::kNone));
    set_gradients(state, step);
    const double norm = clip_per_module(layout_, state, kClip, rules);
    EXPECT_NEAR(norm, fixture().tensor(fmt::format("adamw/norms{}", step)).norm().item<double>(), tolerance() * norm);
    optimizer->step(layout_, state, 0.02 * (1 + step), 0.04 + 0.03 * step, rules);
    if (stored(step)) {
      EXPECT_TRUE(fixture().matches(fmt::format("adamw/student{}", step), together(parameters_), tolerance()));
    }
  }
  for (const int64_t steps : optimizer->segment_steps) EXPECT_EQ(steps, kSteps) << "a rate of 0 is a step";
}

struct Momentum {
  std::string name;
  OptimizerConfig config;
};
const std::vector<Momentum>& momentum_cases() {
  using Ratio = LarsConfig::Ratio;
  static const std::vector<Momentum> cases = {
      {"sgd", {.name = "sgd", .adamw = {}, .sgd = {.momentum = 0.9}, .lars = {}}},
      {"lars/update", {.name = "lars", .adamw = {}, .sgd = {}, .lars = {.momentum = 0.9, .trust = 0.01, .ratio = Ratio::kUpdate}}},
      {"lars/sum", {.name = "lars", .adamw = {}, .sgd = {}, .lars = {.momentum = 0.9, .trust = 0.02, .ratio = Ratio::kSum}}},
      {"lars/sum_clip",
       {.name = "lars", .adamw = {}, .sgd = {}, .lars = {.momentum = 0.9, .trust = 0.02, .ratio = Ratio::kSum, .clip_lr = true}}}};
  return cases;
}

TEST_P(GoldenMethods, SgdAndLars) {
  for (const Momentum& c : momentum_cases()) {
    parameters_ = network(GetParam());
    for (NamedTensor& p : parameters_)
      if (p.name == "backbone.mask_token") p.tensor.zero_();
    FlatState state(layout_, parameters_, true, GetParam());
    const auto optimizer = make_optimizer(c.config, layout_, GetParam());
    const auto rules = segment_rules(layout_, {});
    for (int step = 0; step < kSteps; ++step) {
      set_gradients(state, step, "backbone.pos_embed");
      optimizer->step(layout_, state, 0.3 / (1 + step), 0.04 + 0.03 * step, rules);
      if (stored(step)) {
        EXPECT_TRUE(fixture().matches(fmt::format("{}/student{}", c.name, step), together(parameters_), tolerance()));
      }
    }
  }
}

TEST(GoldenSchedules, PhasesAtEveryStep) {
  for (int i = 0; i < 7; ++i) {
    const std::vector<double> a = doubles(fmt::format("phase/{}/arguments", i)), expected = doubles(fmt::format("phase/{}/values", i));
    const auto warmup = static_cast<int64_t>(a[3]), total = static_cast<int64_t>(a[4]);
    const PhaseSchedule schedule{
        .start = a[0], .peak = a[1], .end = a[2], .warmup = warmup, .cosine = a[5] < 0 ? total - warmup : static_cast<int64_t>(a[5])};
    ASSERT_EQ(static_cast<int64_t>(expected.size()), total);
    for (int64_t step = 0; step < total; ++step)
      EXPECT_NEAR(schedule.at(step), expected[static_cast<size_t>(step)], 4e-16 * std::max({a[0], a[1], a[2]})) << i << ", step " << step;
    EXPECT_EQ(schedule.at(total), a[2]) << i;
  }
}

TEST(GoldenSchedules, TeacherTemperatureAtEveryStep) {
  const std::vector<double> expected = doubles("temperature_per_step");
  const TemperatureSchedule schedule{.start = 0.04, .end = 0.07, .warmup = 12};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(schedule.at(static_cast<int64_t>(i)), expected[i], 2e-17) << i;
}

}  // namespace
}  // namespace dinoxx
