// Ten steps of the whole training step against the published code: make_train_curve.py.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dinoxx/comm/self_communicator.hpp"
#include "golden.hpp"
#include "method/settings/resolve.hpp"
#include "step/train_step.hpp"

namespace dinoxx {
namespace {

constexpr int64_t kBatch = 4, kStepsPerEpoch = 5;
constexpr int kSteps = 10;

Config curve_config() {
  Config config = default_config();
  apply_settings(
      config,
      parse_settings("[model]\ndim = 32\ndepth = 2\nheads = 2\npatch_size = 4\ndrop_path = 0\n"
                     "[head]\nout_dim = 48\nhidden_dim = 40\nbottleneck_dim = 16\n"
                     "[views]\nglobal_size = 16\nlocal_size = 8\nlocal_count = 2\n"
                     "[optim]\nlr = 0.64\nmin_lr = 1e-5\nwarmup = 1ep\nfreeze_last_layer = 1ep\nclip = 0.05\n"  // 0.64 * 4 / 256 = 0.01
                     "[teacher]\nmomentum = 0.9\ntemp = 0.07\nwarmup_temp = 0.04\nwarmup_temp_epochs = 2\n"
                     "[train]\nbatch_size = 4\nlength = 2ep\nbucket_mb = 0.01\n",
                     "curve"));
  return resolve_config(config, kBatch * kStepsPerEpoch, 1);
}

struct Curve {
  explicit Curve(at::ScalarType type)
      : config(curve_config()), spec(make_method(config)), schedules(config, kBatch * kStepsPerEpoch), state(config, spec, type) {
    golden::fill_parameters(state.student.parameters(), "weight_g");
    golden::fill_parameters(state.teacher.parameters(), "weight_g");
    const auto comm = make_self_communicator(), statistics = make_self_communicator();
    GradientSync sync(comm, state.layout, state.student.parameters(), state.student_flat);
    std::vector<double> losses_, norms_;
    for (int step = 0; step < kSteps; ++step) {
      StepInput input;
      input.global_batch = kBatch;
      for (uint64_t slot = 0; slot < kBatch; ++slot) input.positions.push_back(state.position + slot);
      const auto view = [&](int v, int64_t size) {
        return golden::uniform(fmt::format("step{}/view{}", step, v), {kBatch, 3, size, size}).mul(1.5).to(type);
      };
      input.crops = {at::cat({view(0, 16), view(1, 16)}), at::cat({view(2, 8), view(3, 8)})};
      const StepMetrics metrics =
          train_step(state, spec, input, schedules.at(state.step, state.position), sync, {*statistics, *statistics});
      losses_.push_back(metrics.loss);
      norms_.push_back(metrics.grad_norm);
    }
    losses = at::tensor(losses_, at::kDouble);
    norms = at::tensor(norms_, at::kDouble);
  }
  Config config;
  MethodSpec spec;
  Schedules schedules;
  TrainState state;
  at::Tensor losses, norms;
};

TEST(TrainCurve, TenStepsInFloat64) {
  const golden::Fixture fixture("train_curve");
  const Curve curve(at::kDouble);
  EXPECT_TRUE(fixture.matches("losses", curve.losses, 1e-9));
  EXPECT_TRUE(fixture.matches("grad_norms", curve.norms, 1e-9));
  EXPECT_TRUE(fixture.matches("centre", curve.state.centre->value(), 1e-9));
  for (const auto& [name, tensor] : curve.state.student.parameters()) EXPECT_TRUE(fixture.matches("student/" + name, tensor, 1e-9));
  for (const auto& [name, tensor] : curve.state.teacher.parameters()) EXPECT_TRUE(fixture.matches("teacher/" + name, tensor, 1e-9));
}

// The weights are left to float64: the key part of a qkv bias has a gradient of zero in theory, and Adam makes a full step of its rounding
// noise.
TEST(TrainCurve, LossesInFloat32) {
  const golden::Fixture fixture("train_curve");
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    const Curve curve(at::kFloat);
    ops::set_fused(true);
    EXPECT_TRUE(fixture.matches("losses", curve.losses, 1e-5)) << "fused " << fused;
    EXPECT_TRUE(fixture.matches("grad_norms", curve.norms, 1e-4)) << "fused " << fused;
    EXPECT_TRUE(fixture.matches("centre", curve.state.centre->value(), 1e-5)) << "fused " << fused;
  }
}

}  // namespace
}  // namespace dinoxx
