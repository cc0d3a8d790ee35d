#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dinoxx/base/error.hpp"
#include "kernels/optim/flat_kernels.hpp"
#include "optim/adamw.hpp"
#include "optim/clip.hpp"
#include "optim/ema.hpp"
#include "toy_network.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;
using optim_detail::FlatKernels;

// Of DINO v1: biases and 1-D parameters do not decay, a frozen last layer is skipped.
std::vector<SegmentRule> dino_v1_rules(const ParamLayout& layout, bool freeze_last_layer) {
  return segment_rules(layout, {.last_layer = freeze_last_layer ? LastLayerFreeze::kSkip : LastLayerFreeze::kNone});
}

std::vector<const FlatKernels*> sets_of_this_processor() {
  std::vector<const FlatKernels*> sets = {&optim_detail::kPortableKernels};
#if defined(__x86_64__)
  for (const FlatKernels* set : {&optim_detail::kAvx2Kernels, &optim_detail::kAvx512Kernels})
    if (set->level <= best_cpu_level()) sets.push_back(set);
#endif
  return sets;
}

at::Tensor numbers(int64_t n, double phase, at::ScalarType type) {
  return (at::sin(at::arange(n, at::kDouble) * 0.731 + phase) * 2.5).to(type).contiguous();
}

struct Buffers {
  explicit Buffers(int64_t n, at::ScalarType type)
      : p(numbers(n, 0, type)),
        g(numbers(n, 1, type)),
        m(numbers(n, 2, type)),
        v(numbers(n, 3, type).square()),
        bf16(at::zeros({n}, at::kBFloat16)) {}
  at::Tensor p, g, m, v, bf16;
  uint16_t* bits() const { return static_cast<uint16_t*>(bf16.data_ptr()); }
};

TEST(FlatKernels, AllInstructionSetsGiveTheSameBits) {
  for (const int64_t n : {1, 15, 16, 1000, 5003}) {
    Buffers first(n, at::kFloat), first64(n, at::kDouble);
    double squares = 0, squares64 = 0;
    const optim_detail::AdamWConstants<float> c = {0.999f, 0.1f, 0.999f, 0.001f, 0.0316f, 1e-8f, -0.01f};
    const optim_detail::AdamWConstants<double> c64 = {0.999, 0.1, 0.999, 0.001, 0.0316, 1e-8, -0.01};
    for (const FlatKernels* set : sets_of_this_processor()) {
      Buffers b(n, at::kFloat), b64(n, at::kDouble);
      set->adamw_f32(b.p.data_ptr<float>(), b.g.data_ptr<float>(), b.m.data_ptr<float>(), b.v.data_ptr<float>(), b.bits(), n, c);
      set->adamw_f64(b64.p.data_ptr<double>(), b64.g.data_ptr<double>(), b64.m.data_ptr<double>(), b64.v.data_ptr<double>(), nullptr, n,
                     c64);
      set->average_f32(b.m.data_ptr<float>(), b.p.data_ptr<float>(), nullptr, n, 0.99f, 0.01f);
      set->average_f64(b64.m.data_ptr<double>(), b64.p.data_ptr<double>(), b64.bits(), n, 0.99, 0.01);
      const double s = set->squares_f32(b.g.data_ptr<float>(), n), s64 = set->squares_f64(b64.g.data_ptr<double>(), n);
      EXPECT_TRUE(at::equal(b.bf16, b.p.to(at::kBFloat16))) << level_name(set->level);
      EXPECT_TRUE(at::equal(b64.bf16, b64.m.to(at::kFloat).to(at::kBFloat16))) << level_name(set->level);
      EXPECT_NEAR(s, b.g.to(at::kDouble).square().sum().item<double>(), 1e-12 * s);
      if (set == sets_of_this_processor().front()) {
        first = b, first64 = b64, squares = s, squares64 = s64;
        continue;
      }
      EXPECT_TRUE(at::equal(b.p, first.p) && at::equal(b.m, first.m) && at::equal(b.v, first.v)) << level_name(set->level) << ", " << n;
      EXPECT_TRUE(at::equal(b64.p, first64.p) && at::equal(b64.m, first64.m) && at::equal(b64.v, first64.v))
          << level_name(set->level) << ", " << n;
      EXPECT_EQ(s, squares) << level_name(set->level);
      EXPECT_EQ(s64, squares64) << level_name(set->level);
    }
  }
}

TEST(FlatKernels, Bf16RoundsAsAten) {
  // ties, the largest values, subnormal numbers, infinities and NaN
  const at::Tensor t = at::empty({9});
  const uint32_t bits[] = {0x3f808000u, 0x3f818000u, 0x3f808001u, 0x7f7fffffu, 0x00008000u,
                           0x00018000u, 0x7f800000u, 0xff800000u, 0x7fc00001u};
  std::memcpy(t.data_ptr(), bits, sizeof bits);
  for (const FlatKernels* set : sets_of_this_processor()) {
    const at::Tensor average = t.clone(), out = at::zeros({9}, at::kBFloat16), zero = at::zeros({9});
    set->average_f32(average.data_ptr<float>(), zero.data_ptr<float>(), static_cast<uint16_t*>(out.data_ptr()), 9, 1.0f, 0.0f);
    const at::Tensor expected = t.to(at::kBFloat16);
    EXPECT_TRUE(at::equal(out.narrow(0, 0, 8), expected.narrow(0, 0, 8))) << level_name(set->level);
    EXPECT_TRUE(out.isnan()[8].item<bool>()) << level_name(set->level);
  }
}

struct Training {
  explicit Training(at::ScalarType compute = at::kFloat)
      : network(4, 300, at::kFloat),
        layout(ParamLayout::build(with_last_layer(network.parameters))),
        state(layout, network.parameters, true, at::kFloat, compute),
        optimizer(layout, at::kFloat) {
    state.grad.copy_(inside(numbers(layout.numel, 5, at::kFloat)));
  }
  static NamedTensors& with_last_layer(NamedTensors& parameters) {
    parameters[6].name = "last_layer.weight_v";
    parameters[7].name = "last_layer.weight_g";  // not trainable
    return parameters;
  }
  at::Tensor inside(const at::Tensor& flat) const {  // zero in the padding
    at::Tensor out = at::zeros_like(flat);
    for (const Segment& s : layout.segments) out.narrow(0, s.offset, s.numel).copy_(flat.narrow(0, s.offset, s.numel));
    return out;
  }
  at::Tensor of(const at::Tensor& flat, const std::string& name) const {
    for (const Segment& s : layout.segments) {
      if (s.name == name) return flat.narrow(0, s.offset, s.numel);
    }
    throw Error("no segment " + name);
  }
  ToyNetwork network;
  ParamLayout layout;
  FlatState state;
  AdamW optimizer;
};

TEST(AdamW, FrozenSegmentsKeepValuesMomentsAndStepCount) {
  Training t;
  const at::Tensor before = t.state.master.clone();
  t.optimizer.step(t.layout, t.state, 0.01, 0.1, dino_v1_rules(t.layout, true));
  t.optimizer.step(t.layout, t.state, 0.01, 0.1, dino_v1_rules(t.layout, true));
  t.optimizer.step(t.layout, t.state, 0.01, 0.1, dino_v1_rules(t.layout, false));
  for (size_t s = 0; s < t.layout.segments.size(); ++s) {
    const Segment& segment = t.layout.segments[s];
    EXPECT_EQ(t.optimizer.segment_steps[s], segment.name == "last_layer.weight_v"   ? 1
                                            : segment.name == "last_layer.weight_g" ? 0
                                                                                    : 3)
        << segment.name;
    EXPECT_EQ(at::equal(t.of(before, segment.name), t.of(t.state.master, segment.name)), segment.name == "last_layer.weight_g")
        << segment.name;
  }
  EXPECT_EQ(t.of(t.optimizer.exp_avg, "last_layer.weight_g").abs().sum().item<float>(), 0);
  // the first step of a layer that was frozen is a first step: lr * sign(gradient), beside decay
  const at::Tensor g = t.of(t.state.grad, "last_layer.weight_v");
  const at::Tensor expected = t.of(before, "last_layer.weight_v") * (1 - 0.01 * 0.1) - 0.01 * g / (g.abs() + 1e-8);
  EXPECT_LE((t.of(t.state.master, "last_layer.weight_v") - expected).abs().max().item<float>(), 1e-6);
}

TEST(AdamW, PaddingStaysZeroAndTheBf16CopyIsPublished) {
  Training t(at::kBFloat16);
  const at::Tensor frozen = t.of(t.state.master, "last_layer.weight_v").clone();
  t.optimizer.step(t.layout, t.state, 0.01, 0.1, dino_v1_rules(t.layout, true));
  EXPECT_TRUE(at::equal(t.state.compute, t.state.master.to(at::kBFloat16)));
  EXPECT_TRUE(at::equal(t.state.master, t.inside(t.state.master)));
  EXPECT_TRUE(at::equal(frozen, t.of(t.state.master, "last_layer.weight_v")));
}

TEST(AdamW, DoesNotDependOnThreads) {
  Training one, several;
  at::set_num_threads(1);
  const double norm_one = clip_per_parameter(one.layout, one.state, 1.0, dino_v1_rules(one.layout, false));
  one.optimizer.step(one.layout, one.state, 0.01, 0.1, dino_v1_rules(one.layout, false));
  at::set_num_threads(3);
  const double norm_several = clip_per_parameter(several.layout, several.state, 1.0, dino_v1_rules(several.layout, false));
  several.optimizer.step(several.layout, several.state, 0.01, 0.1, dino_v1_rules(several.layout, false));
  at::set_num_threads(1);
  EXPECT_EQ(norm_one, norm_several);
  EXPECT_TRUE(at::equal(one.state.master, several.state.master));
}

TEST(AdamW, RefusesAnotherNetworksState) {
  Training t;
  AdamW other(t.layout, at::kDouble);
  EXPECT_THAT([&] { other.step(t.layout, t.state, 0.1, 0, dino_v1_rules(t.layout, false)); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("another network")));
}

TEST(Clip, EachParameterByItsOwnNorm) {
  Training t;
  t.state.grad.mul_(0.01);
  t.of(t.state.grad, "layers.0.weight").mul_(1000);
  const at::Tensor before = t.state.grad.clone();
  double squares = 0;
  for (const Segment& s : t.layout.segments) {
    if (s.trainable) squares += t.of(before, s.name).to(at::kDouble).square().sum().item<double>();
  }
  EXPECT_NEAR(clip_per_parameter(t.layout, t.state, 0, dino_v1_rules(t.layout, false)), std::sqrt(squares), 1e-12 * std::sqrt(squares));
  EXPECT_TRUE(at::equal(before, t.state.grad));
  EXPECT_NEAR(clip_per_parameter(t.layout, t.state, 3.0, dino_v1_rules(t.layout, true)),
              std::sqrt(squares - t.of(before, "last_layer.weight_v").to(at::kDouble).square().sum().item<double>()),
              1e-12 * std::sqrt(squares));
  int clipped = 0;
  for (const Segment& s : t.layout.segments) {
    if (!s.trainable || s.last_layer) continue;
    const double norm = t.of(before, s.name).to(at::kDouble).norm().item<double>();
    const double after = t.of(t.state.grad, s.name).to(at::kDouble).norm().item<double>();
    clipped += norm > 3;
    EXPECT_NEAR(after, norm > 3 ? 3.0 * norm / (norm + 1e-6) : norm, 1e-6 * norm) << s.name;
  }
  EXPECT_GE(clipped, 1);
  EXPECT_TRUE(at::equal(t.of(before, "last_layer.weight_v"), t.of(t.state.grad, "last_layer.weight_v"))) << "frozen, yet scaled";
}

TEST(Clip, ANanShowsInTheNormAndScalesNothing) {
  Training t;
  t.of(t.state.grad, "layers.1.bias")[3] = std::nan("");
  const at::Tensor before = t.of(t.state.grad, "layers.1.bias").clone();
  EXPECT_TRUE(std::isnan(clip_per_parameter(t.layout, t.state, 1e-3, dino_v1_rules(t.layout, false))));
  EXPECT_EQ(t.of(t.state.grad, "layers.1.bias")[0].item<float>(), before[0].item<float>());
}

TEST(Ema, AveragesMastersAndPublishes) {
  Training student, teacher(at::kBFloat16);
  student.state.master.mul_(1.5);
  const at::Tensor before = teacher.state.master.clone();
  ema_update(teacher.state, student.state, 0.75);
  EXPECT_TRUE(at::equal(teacher.state.master, before * 0.75 + student.state.master * 0.25));
  EXPECT_TRUE(at::equal(teacher.state.compute, teacher.state.master.to(at::kBFloat16)));
  ema_update(teacher.state, student.state, 0.0);
  EXPECT_TRUE(at::equal(teacher.state.master, student.state.master));
  student.state.master.mul_(2);
  const at::Tensor was = teacher.state.master.clone();
  ema_update(teacher.state, student.state, 0.0, std::vector<FlatRange>{{10, 90}, {200, 70}});
  at::Tensor expected = was.clone();
  for (const auto& [begin, count] : {std::pair{10, 90}, {200, 70}})
    expected.narrow(0, begin, count).copy_(student.state.master.narrow(0, begin, count));
  EXPECT_TRUE(at::equal(teacher.state.master, expected)) << "the others stay";
  EXPECT_TRUE(at::equal(teacher.state.compute, teacher.state.master.to(at::kBFloat16)));
  student.state.master.copy_(teacher.state.master);
  EXPECT_TRUE(at::equal(teacher.state.master, student.state.master));
}

}  // namespace
}  // namespace dinoxx
