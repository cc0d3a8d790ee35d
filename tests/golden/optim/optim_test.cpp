// Schedules, clipping, AdamW groups, frozen last layer and teacher average against facebookresearch/dino (make_optim.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.hpp"
#include "optim/adamw.hpp"
#include "optim/clip.hpp"
#include "optim/ema.hpp"
#include "optim/schedule.hpp"

namespace dinoxx {
namespace {

constexpr int kSteps = 10, kFrozenSteps = 4;
constexpr double kClip = 1.5;

const golden::Fixture& fixture() {
  static const golden::Fixture file("optim");
  return file;
}
std::vector<double> doubles(const std::string& name) {
  const at::Tensor t = fixture().tensor(name);
  return {t.data_ptr<double>(), t.data_ptr<double>() + t.numel()};
}

TEST(GoldenSchedule, CosineAtEveryStep) {
  for (const char* name : {"learning_rate", "weight_decay", "momentum", "one_warmup_step", "all_warmup", "long"}) {
    const std::vector<double> a = doubles(fmt::format("cosine/{}/arguments", name)),
                              expected = doubles(fmt::format("cosine/{}/values", name));
    const int64_t per_epoch = static_cast<int64_t>(a[3]);
    const CosineSchedule schedule{.base = a[0],
                                  .final = a[1],
                                  .start = a[5],
                                  .warmup = static_cast<int64_t>(a[4]) * per_epoch,
                                  .total = static_cast<int64_t>(a[2]) * per_epoch};
    ASSERT_EQ(static_cast<int64_t>(expected.size()), schedule.total) << name;
    for (int64_t i = 0; i < schedule.total; ++i) {
      EXPECT_NEAR(schedule.at(i), expected[i], 4e-16 * std::max(std::abs(a[0]), std::abs(a[1]))) << name << ", step " << i;
    }
    EXPECT_EQ(schedule.at(schedule.total), a[1]) << name;
    EXPECT_EQ(schedule.at(schedule.total + 1000), a[1]) << name;
  }
}

TEST(GoldenSchedule, TeacherTemperatureAtEveryEpoch) {
  for (const char* name : {"published", "none", "one", "all"}) {
    const std::vector<double> a = doubles(fmt::format("temperature/{}/arguments", name)),
                              expected = doubles(fmt::format("temperature/{}/values", name));
    const TemperatureSchedule schedule{.start = a[0], .end = a[1], .warmup = static_cast<int64_t>(a[2])};
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(schedule.at(static_cast<int64_t>(i)), expected[i], 2e-17) << name << ", epoch " << i;
    EXPECT_EQ(schedule.at(1000), a[1]) << name;
  }
}

NamedTensors student(at::ScalarType type) {
  NamedTensors parameters = {{"pos_embed", at::zeros({1, 3, 5}, type)},
                             {"proj.weight", at::zeros({7, 5}, type)},
                             {"proj.bias", at::zeros({7}, type)},
                             {"norm.weight", at::zeros({7}, type)},
                             {"norm.bias", at::zeros({7}, type)},
                             {"last_layer.weight_g", at::zeros({6, 1}, type)},
                             {"last_layer.weight_v", at::zeros({6, 7}, type)}};
  golden::fill_parameters(parameters, "weight_g");
  return parameters;
}

at::Tensor gradient(int step, const NamedTensor& parameter) {
  const double scale = parameter.name == "pos_embed"             ? 4.0
                       : parameter.name == "proj.weight"         ? 0.3
                       : parameter.name == "last_layer.weight_v" ? 0.9
                                                                 : 0.05;
  return scale * golden::uniform(fmt::format("gradient{}/{}", step, parameter.name), parameter.tensor.sizes()) * (1 + 0.3 * step);
}

at::Tensor together(const NamedTensors& parameters) {
  std::vector<at::Tensor> flat;
  for (const NamedTensor& p : parameters) flat.push_back(p.tensor.detach().to(at::kDouble).reshape(-1));
  return at::cat(flat);
}

class GoldenUpdate : public testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(, GoldenUpdate, testing::Values(at::kDouble, at::kFloat), testing::PrintToStringParamName());

TEST_P(GoldenUpdate, TenStepsWithTheLastLayerFrozenAtFirst) {
  const double tolerance = GetParam() == at::kDouble ? 1e-9 : 1e-5;
  NamedTensors parameters = student(GetParam()), teacher_parameters = student(GetParam());
  const ParamLayout layout = ParamLayout::build(parameters);
  FlatState state(layout, parameters, true, GetParam()), teacher(layout, teacher_parameters, false, GetParam());
  AdamW optimizer(layout, GetParam());
  const CosineSchedule lr{.base = 0.02, .final = 1e-4, .start = 0.003, .warmup = 2, .total = kSteps},
      decay{.base = 0.04, .final = 0.4, .start = 0, .warmup = 0, .total = kSteps},
      momentum{.base = 0.9, .final = 1, .start = 0, .warmup = 0, .total = kSteps};
  const std::vector<SegmentRule> all_move = segment_rules(layout, {}),
                                 last_layer_stays = segment_rules(layout, {.last_layer = LastLayerFreeze::kSkip});
  for (int step = 0; step < kSteps; ++step) {
    const bool frozen = step < kFrozenSteps;
    at::NoGradGuard no_grad;
    state.zero_grad();
    for (const NamedTensor& p : parameters) {
      if (p.tensor.requires_grad()) p.tensor.mutable_grad().copy_(gradient(step, p));
    }
    const at::Tensor raw = state.grad.clone();
    // the published code clips the last layer too and then throws its gradient away; here a frozen one is left alone, so it is clipped for
    // the comparison alone
    const double all = clip_per_parameter(layout, state, kClip, all_move);
    EXPECT_NEAR(all, fixture().tensor(fmt::format("train/norms{}", step)).norm().item<double>(), tolerance * all);
    NamedTensors clipped;
    for (const NamedTensor& p : parameters) {
      if (p.tensor.requires_grad()) clipped.push_back({p.name, p.tensor.grad()});
    }
    EXPECT_TRUE(fixture().matches(fmt::format("train/clipped{}", step), together(clipped), tolerance));
    if (frozen) {
      state.grad.copy_(raw);
      clip_per_parameter(layout, state, kClip, last_layer_stays);
    }
    optimizer.step(layout, state, lr.at(step), decay.at(step), frozen ? last_layer_stays : all_move);
    ema_update(teacher, state, momentum.at(step));
    EXPECT_TRUE(fixture().matches(fmt::format("train/student{}", step), together(parameters), tolerance));
    EXPECT_TRUE(fixture().matches(fmt::format("train/teacher{}", step), together(teacher_parameters), tolerance));
  }
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment& segment = layout.segments[s];
    EXPECT_EQ(optimizer.segment_steps[s], segment.name == "last_layer.weight_g"   ? 0
                                          : segment.name == "last_layer.weight_v" ? kSteps - kFrozenSteps
                                                                                  : kSteps);
  }
}

}  // namespace
}  // namespace dinoxx
