// Changes of low rank against the same factors written out: a forward with W0 + alpha / r B A, autograd, and AdamW number by number.
#include "optim/lora.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr int64_t kRank = 2;
constexpr double kAlpha = 6, kRate = 0.01, kDecay = 0.1;

at::Tensor numbers(at::IntArrayRef shape, double phase) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 0.7 + phase).view(shape);
}

// A matrix of a block with the norm beside it and a head.
struct Matrices {
  explicit Matrices(at::ScalarType compute = at::kDouble, at::ScalarType master = at::kDouble)
      : parameters({{"backbone.blocks.0.attn.qkv.weight", numbers({6, 5}, 0).to(compute)},
                    {"backbone.norm.weight", numbers({5}, 1).to(compute)},
                    {"head.mlp.0.weight", numbers({3, 6}, 2).to(compute)}}),
        layout(ParamLayout::build(parameters)),
        state(layout, parameters, true, master, compute),
        rules(segment_rules(layout, {})) {
    apply_thaw(layout, {.block_matrices = true}, rules);
  }
  const Segment& segment(const std::string& name) const {
    for (const Segment& s : layout.segments)
      if (s.name == name) return s;
    throw Error("no " + name);
  }
  at::Tensor of(const at::Tensor& flat, const std::string& name) const { return flat.narrow(0, segment(name).offset, segment(name).numel); }
  NamedTensors parameters;
  ParamLayout layout;
  FlatState state;
  std::vector<SegmentRule> rules;
};

// torch.optim.AdamW, one tensor.
struct Adam {
  at::Tensor p, m, v;
  int step = 0;
  void update(const at::Tensor& g) {
    ++step;
    p = p * (1 - kRate * kDecay);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p = p - kRate * (m / (1 - std::pow(0.9, step))) / ((v / (1 - std::pow(0.999, step))).sqrt() + 1e-8);
  }
};
Adam adam(const at::Tensor& p) {
  return {p, at::zeros_like(p), at::zeros_like(p)};
}

TEST(Lora, IsAdamWOnTheFactorsOfTheChange) {
  Matrices run;
  LoraAdamW optimizer(run.layout, at::kDouble, {}, {kRank, kAlpha, 3});
  const std::string matrix = "backbone.blocks.0.attn.qkv.weight", norm = "backbone.norm.weight", head = "head.mlp.0.weight";
  const at::Tensor w0 = run.of(run.state.master, matrix).view({6, 5}).clone(), norm0 = run.of(run.state.master, norm).clone();
  const at::Tensor stored = run.of(optimizer.factors, matrix);
  Adam a = adam(stored.narrow(0, 0, 10).view({2, 5}).clone()), b = adam(stored.narrow(0, 10, 12).view({6, 2}).clone()),
       h = adam(run.of(run.state.master, head).clone());
  EXPECT_EQ(b.p.abs().max().item<double>(), 0) << "the network begins as it is";
  EXPECT_GT(a.p.abs().max().item<double>(), 0.2);
  EXPECT_LE(a.p.abs().max().item<double>(), 1 / std::sqrt(5.0));
  for (int i = 0; i < 5; ++i) {
    // a loss of W, through the factors and directly
    const at::Tensor x = numbers({5, 7}, i), wanted = numbers({6, 7}, 3 + i);
    const at::Tensor fa = a.p.clone().set_requires_grad(true), fb = b.p.clone().set_requires_grad(true);
    (at::matmul(w0 + kAlpha / kRank * at::matmul(fb, fa), x) - wanted).square().sum().backward();
    const at::Tensor w = run.of(run.state.master, matrix).view({6, 5});
    run.of(run.state.grad, matrix).copy_((2 * at::matmul(at::matmul(w, x) - wanted, x.t())).flatten());
    run.of(run.state.grad, norm).fill_(1);
    run.of(run.state.grad, head).copy_(numbers({18}, 5 + i));
    optimizer.step(run.layout, run.state, kRate, kDecay, run.rules);
    a.update(fa.grad());
    b.update(fb.grad());
    h.update(numbers({18}, 5 + i));
    const at::Tensor expected = w0 + kAlpha / kRank * at::matmul(b.p, a.p);
    EXPECT_LE((run.of(run.state.master, matrix).view({6, 5}) - expected).abs().max().item<double>(), 1e-13) << "step " << i;
    EXPECT_LE((run.of(run.state.master, head) - h.p).abs().max().item<double>(), 1e-13) << "the head learns as ever";
  }
  const at::Tensor change = run.of(run.state.master, matrix).view({6, 5}) - w0;
  EXPECT_GT(change.abs().max().item<double>(), 0.01);
  EXPECT_LE(at::linalg_svdvals(change)[kRank].item<double>(), 1e-13) << "the change has the rank";
  EXPECT_TRUE(at::equal(run.of(run.state.master, norm), norm0));
  EXPECT_EQ(optimizer.named_state().back().first, "lora_factors");
}

TEST(Lora, PublishesInTheTypeOfTheNetworkAndKeepsStill) {
  Matrices run(at::kBFloat16, at::kFloat);
  LoraAdamW optimizer(run.layout, at::kFloat, {}, {kRank, kAlpha, 3}), same(run.layout, at::kFloat, {}, {kRank, kAlpha, 3}),
      other(run.layout, at::kFloat, {}, {kRank, kAlpha, 4});
  EXPECT_TRUE(at::equal(optimizer.factors, same.factors));
  EXPECT_FALSE(at::equal(optimizer.factors, other.factors));
  run.state.grad.fill_(0.5);
  optimizer.step(run.layout, run.state, kRate, kDecay, run.rules);
  EXPECT_TRUE(at::equal(run.state.compute, run.state.master.to(at::kBFloat16)));
  const at::Tensor before = run.of(run.state.master, "backbone.blocks.0.attn.qkv.weight").clone();
  apply_thaw(run.layout, {.share = 0}, run.rules);
  optimizer.step(run.layout, run.state, kRate, kDecay, run.rules);
  EXPECT_TRUE(at::equal(run.of(run.state.master, "backbone.blocks.0.attn.qkv.weight"), before)) << "while the heads learn alone";
}

TEST(Lora, RefusesWhatItCannotDo) {
  const Matrices run;
  EXPECT_THAT(
      [&] {
        LoraAdamW(run.layout, at::kDouble, {}, {3, 1, 0});
      },
      ThrowsMessage<UsageError>(
          HasSubstr("init.lora_rank: expected at most 2 for backbone.blocks.0.attn.qkv.weight, a matrix of 6 x 5, found 3")));
  const ParamLayout head = ParamLayout::build({{"head.mlp.0.weight", at::zeros({4, 4})}});
  EXPECT_THAT([&] { LoraAdamW(head, at::kDouble, {}, {2, 1, 0}); }, ThrowsMessage<UsageError>(HasSubstr("without transformer blocks")));
  OptimizerConfig sgd{.name = "sgd", .lora = LoraConfig{2, 1, 0}};
  EXPECT_THAT([&] { make_optimizer(sgd, run.layout, at::kDouble); }, ThrowsMessage<UsageError>(HasSubstr("optim.name = adamw")));
}

}  // namespace
}  // namespace dinoxx
