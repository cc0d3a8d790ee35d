// The GPU passes against ATen's formulas and against the CPU, bit for bit.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "optim/adamw.hpp"
#include "optim/clip.hpp"
#include "optim/ema.hpp"
#include "optim/rules.hpp"
#include "toy_network.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

struct Training {
  Training(at::Device device, at::ScalarType compute) : network(40, 48, at::kFloat) {
    for (NamedTensor& p : network.parameters) p.tensor = p.tensor.to(device);
    network.parameters[78].name = "last_layer.weight_v";
    network.parameters[79].name = "last_layer.weight_g";
    layout = ParamLayout::build(network.parameters, 20000);
    state.emplace(layout, network.parameters, true, at::kFloat, compute);
    optimizer.emplace(layout, at::kFloat);
  }
  void set_gradient(int step) {
    const at::Tensor g = at::sin(at::arange(layout.numel, at::kDouble) * 0.73 + step) * 2;
    state->grad.zero_();
    for (const Segment& s : layout.segments) state->grad.narrow(0, s.offset, s.numel).copy_(g.narrow(0, s.offset, s.numel).to(at::kFloat));
  }
  ToyNetwork network;
  ParamLayout layout;
  std::optional<FlatState> state;
  std::optional<AdamW> optimizer;
};

std::vector<SegmentRule> rules_of(const ParamLayout& layout, bool freeze_last_layer) {
  return segment_rules(layout, {.last_layer = freeze_last_layer ? LastLayerFreeze::kSkip : LastLayerFreeze::kNone});
}

class CudaOptimizer : public testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(, CudaOptimizer, testing::Values(at::kFloat, at::kBFloat16), testing::PrintToStringParamName());

TEST_P(CudaOptimizer, TenStepsEqualTheCpuBitForBit) {
  Training cpu(at::kCPU, GetParam()), gpu(at::Device(at::kCUDA, 0), GetParam());
  Training cpu_teacher(at::kCPU, GetParam()), gpu_teacher(at::Device(at::kCUDA, 0), GetParam());
  ASSERT_GT(cpu.layout.segments.size(), 64u) << "more runs than one launch takes";
  const std::vector<SegmentRule> rules = rules_of(cpu.layout, false), frozen = rules_of(cpu.layout, true);
  for (int step = 0; step < 10; ++step) {
    cpu.set_gradient(step);
    gpu.set_gradient(step);
    cpu.optimizer->step(cpu.layout, *cpu.state, 0.01, 0.1, step < 3 ? frozen : rules);
    gpu.optimizer->step(gpu.layout, *gpu.state, 0.01, 0.1, step < 3 ? frozen : rules);
    ema_update(*cpu_teacher.state, *cpu.state, 0.9);
    ema_update(*gpu_teacher.state, *gpu.state, 0.9);
  }
  EXPECT_TRUE(at::equal(cpu.state->master, gpu.state->master.cpu()));
  EXPECT_TRUE(at::equal(cpu.state->compute, gpu.state->compute.cpu()));
  EXPECT_TRUE(at::equal(cpu.optimizer->exp_avg, gpu.optimizer->exp_avg.cpu()));
  EXPECT_TRUE(at::equal(cpu.optimizer->exp_avg_sq, gpu.optimizer->exp_avg_sq.cpu()));
  EXPECT_TRUE(at::equal(cpu_teacher.state->master, gpu_teacher.state->master.cpu()));
  EXPECT_TRUE(at::equal(cpu_teacher.state->compute, gpu_teacher.state->compute.cpu()));
}

TEST_P(CudaOptimizer, OneStepIsAtensFormula) {
  Training gpu(at::Device(at::kCUDA, 0), GetParam());
  gpu.set_gradient(0);
  const at::Tensor before = gpu.state->master.clone(), g = gpu.state->grad;
  gpu.optimizer->step(gpu.layout, *gpu.state, 0.01, 0.1, rules_of(gpu.layout, false));
  for (const Segment& s : gpu.layout.segments) {
    const at::Tensor p = before.narrow(0, s.offset, s.numel), gradient = g.narrow(0, s.offset, s.numel),
                     now = gpu.state->master.narrow(0, s.offset, s.numel);
    if (!s.trainable) {
      EXPECT_TRUE(at::equal(p, now)) << s.name;
      continue;
    }
    const at::Tensor m = 0.1 * gradient, v = 0.001 * gradient * gradient;
    const at::Tensor expected = p * (1 - 0.01 * (s.decay ? 0.1 : 0.0)) - 0.01 / 0.1 * m / (v.sqrt() / std::sqrt(0.001) + 1e-8);
    EXPECT_LE((now - expected).abs().max().item<float>(), 1e-6) << s.name;
  }
  EXPECT_TRUE(at::equal(gpu.state->compute, gpu.state->master.to(GetParam())));
}

// Through ATen's operators on the GPU, a loop on the CPU: equal but for the rounding of the norms.
TEST_P(CudaOptimizer, SgdAndLarsFollowTheCpu) {
  for (const bool lars : {false, true}) {
    Training cpu(at::kCPU, GetParam()), gpu(at::Device(at::kCUDA, 0), GetParam());
    OptimizerConfig config;
    config.name = lars ? "lars" : "sgd";
    config.lars.trust = 0.02;
    const auto on_cpu = make_optimizer(config, cpu.layout, at::kFloat), on_gpu = make_optimizer(config, gpu.layout, at::kFloat);
    for (int step = 0; step < 10; ++step) {
      cpu.set_gradient(step);
      gpu.set_gradient(step);
      const LastLayerFreeze freeze = step < 3 ? LastLayerFreeze::kSkip : LastLayerFreeze::kNone;
      on_cpu->step(cpu.layout, *cpu.state, 0.05, 0.1, segment_rules(cpu.layout, {.layer_decay = 0.9, .last_layer = freeze}));
      on_gpu->step(gpu.layout, *gpu.state, 0.05, 0.1, segment_rules(gpu.layout, {.layer_decay = 0.9, .last_layer = freeze}));
    }
    EXPECT_TRUE(at::allclose(gpu.state->master.cpu(), cpu.state->master, 1e-5, 1e-6)) << config.name;
    EXPECT_TRUE(at::equal(gpu.state->compute, gpu.state->master.to(GetParam())));
    EXPECT_EQ(on_gpu->segment_steps, on_cpu->segment_steps);
  }
}

TEST(CudaClip, ByModuleEqualsTheCpu) {
  Training cpu(at::kCPU, at::kFloat), gpu(at::Device(at::kCUDA, 0), at::kFloat);
  cpu.set_gradient(0);
  gpu.set_gradient(0);
  const auto rules = segment_rules(cpu.layout, {});
  const double norm = clip_per_module(cpu.layout, *cpu.state, 1.0, rules);
  EXPECT_NEAR(clip_per_module(gpu.layout, *gpu.state, 1.0, rules), norm, 1e-5 * norm);
  EXPECT_TRUE(at::allclose(gpu.state->grad.cpu(), cpu.state->grad, 1e-5, 1e-7));
}

TEST(CudaClip, EqualsTheCpu) {
  Training cpu(at::kCPU, at::kFloat), gpu(at::Device(at::kCUDA, 0), at::kFloat);
  cpu.set_gradient(0);
  gpu.set_gradient(0);
  const auto rules = segment_rules(cpu.layout, {.last_layer = LastLayerFreeze::kSkip});
  const double norm = clip_per_parameter(cpu.layout, *cpu.state, 1.0, rules);
  EXPECT_NEAR(clip_per_parameter(gpu.layout, *gpu.state, 1.0, rules), norm, 1e-5 * norm);
  EXPECT_TRUE(at::allclose(gpu.state->grad.cpu(), cpu.state->grad, 1e-5, 1e-7));
}

}  // namespace
}  // namespace dinoxx
