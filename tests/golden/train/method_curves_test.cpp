// Ten steps of the whole training step of each method against make_method_curves.py.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>

#include "dinoxx/comm/self_communicator.hpp"
#include "golden.hpp"
#include "method/settings/resolve.hpp"
#include "ops/ops.hpp"
#include "step/train_step.hpp"

namespace dinoxx {
namespace {

constexpr int64_t kBatch = 6, kStepsPerEpoch = 5, kGlobal = 16, kLocal = 8, kGram = 24, kPatches = 16;
constexpr int kSteps = 10, kUnmaskedStep = 7;
constexpr std::array kMaskLevels{-1.0, -0.5, 0.0, -1.0, -0.7};

const std::string kTiny =
    "[model]\ndim = 32\ndepth = 2\nheads = 2\npatch_size = 4\ndrop_path = 0\n"
    "[head]\nhidden_dim = 40\n[views]\nglobal_size = 16\nlocal_size = 8\n"
    "[train]\nbatch_size = 6\nlength = 2ep\nbucket_mb = 0.01\n[optim]\nwarmup = 1ep\n[teacher]\nmomentum = 0.9\n";
const std::string kPrototypes = kTiny +
                                "[head]\nout_dim = 48\nbottleneck_dim = 16\n[views]\nlocal_count = 2\n"
                                "[optim]\nmin_lr = 1e-5\nfreeze_last_layer = 1ep\n";
const std::string kLaterMethods = kPrototypes +
                                  "[head]\nnorm_last_layer = no\n[optim]\nlr = 0.1\nlayer_decay = 0.8\nclip = 0.8\n"
                                  "[teacher]\ntemp = 0.07\nwarmup_temp = 0.04\nwarmup_temp_epochs = 1\n";

const std::string kLars = "[optim]\ntrust = 0.02\ntrust_clip = yes\nmin_lr = 0\nweight_decay = 0.01\nweight_decay_end = 0.01\n";
const std::string kExpander = kTiny + "[head]\nout_dim = 16\n" + kLars;

struct Case {
  std::string method, settings;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.method; }
};

const std::array<Case, 15> kCases{{
    {"ibot", kPrototypes +
                 "[head]\nnorm_last_layer = yes\n[optim]\nlr = 0.4\nclip = 0.1\n"
                 "[teacher]\ntemp = 0.06\nwarmup_temp = 0.04\npatch_temp = 0.07\npatch_warmup_temp = 0.03\nwarmup_temp_epochs = 2\n"},
    {"dinov2", kLaterMethods + "[model]\nstyle = dinov2\n[mask]\ngroup_size = 3\n"},
    {"dinov3", kLaterMethods + "[model]\nstyle = dinov3\nregisters = 2\ninit_from = given\n"
                               "[head]\npatch_out_dim = 36\npatch_hidden_dim = 24\npatch_bottleneck_dim = 12\n"
                               "[loss]\nkoleo_group = 6\nkoleo_top_k = 2\nlocal_weight_end = 0.5\n"
                               "[gram]\nweight = 2\nstart = 2it\nramp = 4it\nfirst = 0it\nevery = 3it\nmax_updates = 2\nsize = 24\n"},
    {"distill", kLaterMethods + "[model]\nstyle = dinov2\n[teacher]\ndistill = given\n"},
    {"byol", kTiny + "[head]\nout_dim = 16\n[optim]\nlr = 4\ntrust = 0.02\nweight_decay = 0.01\nweight_decay_end = 0.01\n"},
    {"fastsiam", kTiny + "[head]\nout_dim = 16\npredictor_hidden_dim = 40\n[views]\nlocal_count = 2\n" + kLars + "name = lars\nlr = 1\n"},
    {"simclr",
     kTiny + "[head]\nout_dim = 16\n[optim]\nlr = 6\ntrust = 0.02\ntrust_clip = yes\nweight_decay = 0.01\nweight_decay_end = 0.01\n"},
    {"simdino", kTiny + "[head]\nbottleneck_dim = 16\n[views]\nlocal_count = 2\n"
                        "[optim]\nlr = 0.2\nmin_lr = 1e-5\nclip = 0.1\n[loss]\ncoding_weight = 0.7\ncoding_eps = 0.05\n"},
    {"lejepa", kTiny + "[head]\nout_dim = 16\n[views]\nlocal_count = 2\n"
                       "[optim]\nlr = 0.1\nmin_lr = 1e-5\nweight_decay = 0.05\nweight_decay_end = 0.05\n"
                       "[loss]\nsigreg_weight = 0.1\nsigreg_directions = 24\n"},
    {"simdinov2", kTiny + "[model]\nstyle = dinov2\n[head]\nbottleneck_dim = 16\n[views]\nlocal_count = 2\n[mask]\ngroup_size = 3\n"
                          "[optim]\nlr = 0.1\nmin_lr = 1e-5\nlayer_decay = 0.8\nclip = 0.8\n"
                          "[loss]\ncoding_weight = 0.7\ncoding_eps = 0.05\npatch_weight = 0.5\n"},
    {"visreg", kTiny + "[head]\nout_dim = 16\n[views]\nlocal_count = 2\n"
                       "[optim]\nlr = 0.1\nmin_lr = 1e-5\nweight_decay = 0.05\nweight_decay_end = 0.05\n"
                       "[loss]\nsketch_weight = 0.7\nsketch_shape = 1.5\nsketch_directions = 24\n"},
    {"vicreg", kExpander + "[optim]\nlr = 0.1\n[loss]\nvariance_weight = 15\ncovariance_weight = 2\n"},
    {"barlow_twins", kExpander + "[optim]\nlr = 0.1\n[loss]\ncorrelation_weight = 0.1\nredundancy_weight = 0.02\n"},
    {"swav", kTiny + "[head]\nout_dim = 48\nbottleneck_dim = 16\n[views]\nlocal_count = 2\n[loss]\ncodes_temp = 0.06\n" + kLars +
                 "lr = 2\nfreeze_last_layer = 1ep\n"},
    {"emp_ssl",
     kTiny + "[head]\nout_dim = 16\n[views]\nlocal_count = 2\n[loss]\ncoding_weight = 0.7\ncoding_eps = 0.1\n" + kLars + "lr = 0.02\n"},
}};

Config curve_config(const Case& c) {
  Config config = default_config();
  apply_settings(config, parse_settings("[train]\nmethod = " + c.method + "\n" + c.settings, "curve"));
  return resolve_config(config, kBatch * kStepsPerEpoch, 1);
}

// [views * kBatch, 3, size, size] of views first, first + 1 ...
at::Tensor crops(int step, int first, int views, int64_t size, at::ScalarType type) {
  std::vector<at::Tensor> all;
  for (int v = first; v < first + views; ++v)
    all.push_back(golden::uniform(fmt::format("step{}/view{}/{}", step, v, size), {kBatch, 3, size, size}).mul(1.5).to(type));
  return at::cat(all);
}

at::Tensor masks(int step, int unmasked_step) {
  at::Tensor levels = at::full({2 * kBatch, 1}, -1.0, at::kDouble);
  for (int64_t row = 0; row < 2 * kBatch && step != unmasked_step; ++row)
    levels[row] = kMaskLevels[static_cast<size_t>(row) % kMaskLevels.size()];
  return golden::uniform(fmt::format("step{}/masks", step), {2 * kBatch, kPatches}) < levels;
}

// The frozen teacher of the distillation: wider, deeper, without a mask token.
std::unique_ptr<Network> larger_teacher(const MethodSpec& spec, at::ScalarType type) {
  NetworkConfig network = spec.network;
  auto& vit = std::get<VitConfig>(network.backbone);
  vit.dim = 48;
  vit.depth = vit.heads = 3;
  vit.mask_token = false;
  std::get<DinoHeadConfig>(network.head.config).in_dim = 48;
  auto teacher = std::make_unique<Network>(network, type);
  golden::fill_parameters(teacher->parameters());
  return teacher;
}

struct Curve {
  Curve(const Case& c, at::ScalarType type, int steps = kSteps, int unmasked_step = kUnmaskedStep)
      : config(curve_config(c)), spec(make_method(config)), schedules(config, kBatch * kStepsPerEpoch), state(config, spec, type) {
    const std::string unit = spec.norm_last_layer ? "weight_g" : "";
    golden::fill_parameters(state.student.parameters(), unit);
    golden::fill_parameters(state.teacher.parameters(), unit);
    if (c.method == "distill") state.frozen = larger_teacher(spec, type);
    const auto comm = make_self_communicator(), statistics = make_self_communicator();
    GradientSync sync(comm, state.layout, state.student.parameters(), state.student_flat);
    std::vector<double> losses_, norms_;
    for (int step = 0; step < steps; ++step) {
      StepInput input;
      input.global_batch = kBatch;
      for (uint64_t slot = 0; slot < kBatch; ++slot) input.positions.push_back(state.position + slot);
      input.crops = {crops(step, 0, 2, kGlobal, type)};
      if (spec.student_views() > 2) input.crops.push_back(crops(step, 2, 2, kLocal, type));
      if (spec.gram) input.crops.push_back(crops(step, 0, 2, kGram, type));
      if (spec.masks) input.masked = masks(step, unmasked_step);
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

class MethodCurves : public testing::TestWithParam<Case> {
 protected:
  golden::Fixture fixture_{"curve_" + GetParam().method};
};

TEST_P(MethodCurves, TenStepsInFloat64) {
  const Curve curve(GetParam(), at::kDouble);
  const TrainState& state = curve.state;
  EXPECT_TRUE(fixture_.matches("losses", curve.losses, 1e-9)) << curve.losses;
  EXPECT_TRUE(fixture_.matches("grad_norms", curve.norms, 1e-9)) << curve.norms;
  EXPECT_EQ(state.centre.has_value(), fixture_.has("centre"));
  EXPECT_EQ(state.patch_centre.has_value(), fixture_.has("patch_centre"));
  if (state.centre) {
    EXPECT_TRUE(fixture_.matches("centre", state.centre->value(), 1e-9));
  }
  if (state.patch_centre) {
    EXPECT_TRUE(fixture_.matches("patch_centre", state.patch_centre->value(), 1e-9));
  }
  const bool own_teacher = curve.spec.teacher != TeacherPolicy::kNone;
  const auto compare = [&](const std::string& which, const NamedTensors& tensors) {
    for (const auto& [name, tensor] : tensors) EXPECT_TRUE(fixture_.matches(which + "/" + name, tensor, 1e-9));
  };
  compare("student", state.student.parameters());
  compare("student", state.student_buffers);
  compare(own_teacher ? "teacher" : "student", state.teacher.parameters());
  compare(own_teacher ? "teacher" : "student", state.teacher_buffers);
}

// The weights are left to float64: train_curve_test.cpp says why.
TEST_P(MethodCurves, LossesInFloat32) {
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    const Curve curve(GetParam(), at::kFloat);
    ops::set_fused(true);
    EXPECT_TRUE(fixture_.matches("losses", curve.losses, 1e-5)) << "fused " << fused;
    EXPECT_TRUE(fixture_.matches("grad_norms", curve.norms, 1e-4)) << "fused " << fused;
  }
}

// The first step is the one in which every parameter must get a gradient, be it 0.
TEST_P(MethodCurves, AFirstStepWithoutAnyMask) {
  if (!make_method(curve_config(GetParam())).masks) GTEST_SKIP() << "no masks";
  const Curve curve(GetParam(), at::kDouble, /*steps=*/2, /*unmasked_step=*/0);
  EXPECT_NE(curve.losses[0].item<double>(), fixture_.tensor("losses")[0].item<double>());
  EXPECT_TRUE(curve.losses.isfinite().all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodCurves, testing::ValuesIn(kCases), [](const auto& info) { return info.param.method; });

}  // namespace
}  // namespace dinoxx
