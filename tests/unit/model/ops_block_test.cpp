#include <ATen/Parallel.h>

#include "ops_compare.hpp"

using namespace dinoxx;
using namespace dinoxx::test;

namespace {

/// x, twelve weights in the order of BlockWeights.
Tensors block_inputs(int64_t batch, int64_t tokens, int64_t dim, int64_t hidden) {
  const double w = 1.0 / std::sqrt(static_cast<double>(dim));
  return {normal({batch, tokens, dim}, 1), 1.0 + 0.1 * normal({dim}, 2), 0.1 * normal({dim}, 3),     normal({3 * dim, dim}, 4, w),
          0.1 * normal({3 * dim}, 5),      normal({dim, dim}, 6, w),     0.1 * normal({dim}, 7),     1.0 + 0.1 * normal({dim}, 8),
          0.1 * normal({dim}, 9),          normal({hidden, dim}, 10, w), 0.1 * normal({hidden}, 11), normal({dim, hidden}, 12, w),
          0.1 * normal({dim}, 13)};
}

Operation block(int heads, at::Tensor s1 = {}, at::Tensor s2 = {}) {
  return [=](const Tensors& t) {
    return ops::transformer_block(t[0], {t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12]}, heads, 1e-6, s1, s2);
  };
}

}  // namespace

TEST(Block, MatchesTheFormula) {
  compare(block(3), block_inputs(13, 17, 96, 384));
  compare(block(3), block_inputs(31, 5, 192, 768));
  compare(block(1), block_inputs(1, 1, 16, 64));
  compare(block(2), block_inputs(3, 7, 20, 50));
}

TEST(Block, StochasticDepthScales) {
  const at::Tensor s1 = at::tensor({0.0, 1.25, 1.25, 0.0, 1.25}, at::kFloat), s2 = at::tensor({1.25, 0.0, 1.25, 0.0, 1.25}, at::kFloat);
  const Tensors in = block_inputs(5, 17, 64, 256);
  compare(block(2, s1, s2), in);
  compare(block(2, s1, {}), in);
  compare(block(2, {}, s2), in);
  // both branches dropped: the sample passes unchanged
  Tensors single;
  for (const auto& t : in) single.push_back(t.to(at::kFloat));
  EXPECT_TRUE(at::equal(block(2, s1, s2)(single)[3], single[0][3]));
}

TEST(Block, ManyTokensTakeTheOtherWay) {
  compare(block(2), block_inputs(1, 330, 32, 64));
}

TEST(Block, WithoutGradientGivesTheSameBits) {
  Tensors in;
  for (const auto& t : block_inputs(9, 17, 96, 384)) in.push_back(t.to(at::kFloat).requires_grad_(true));
  const at::Tensor training = block(3)(in).detach();
  at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(training, block(3)(in)));
}

TEST(Block, FrozenWeightsStillPassTheGradientOn) {
  Tensors in;
  for (const auto& t : block_inputs(4, 5, 32, 64)) in.push_back(t.to(at::kFloat));
  in[0].requires_grad_(true);
  block(2)(in).square().sum().backward();
  const at::Tensor alone = in[0].grad().clone();
  in[0].mutable_grad() = at::Tensor();
  for (size_t i = 1; i < in.size(); ++i) in[i].requires_grad_(true);
  block(2)(in).square().sum().backward();
  EXPECT_TRUE(at::equal(alone, in[0].grad()));
}

TEST(Block, Deterministic) {
  expect_deterministic(block(3), block_inputs(33, 17, 96, 384), at::kFloat);
  expect_deterministic(block(3), block_inputs(33, 17, 96, 384), at::kBFloat16);
}

TEST(Block, SamplesDoNotDependOnTheirNeighbours) {
  // the forward result of a sample has the same bits in a batch of 20 and alone: k-NN and resumed runs rely on it
  Tensors in;
  for (const auto& t : block_inputs(20, 17, 96, 384)) in.push_back(t.to(at::kFloat));
  const at::Tensor all = block(3)(in);
  in[0] = in[0].narrow(0, 13, 1).contiguous();
  const at::Tensor one = block(3)(in);
  if (ops::kernels_in_use().find("float32 own") != std::string::npos) {
    EXPECT_TRUE(at::equal(all.narrow(0, 13, 1), one));
  }
  EXPECT_LT(largest(all.narrow(0, 13, 1) - one), 1e-5 * largest(one));
}

TEST(Block, ThreadsDoNotChangeTheBits) {
  if (ops::kernels_in_use().find("float32 own") == std::string::npos)
    GTEST_SKIP() << "matrix products by ATen here, which promises this for a fixed number of threads only";
  const Tensors in = block_inputs(40, 17, 96, 384);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensors one = run_with_grads(block(3), in, at::kFloat, true);
  at::set_num_threads(3);
  const Tensors three = run_with_grads(block(3), in, at::kFloat, true);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i], three[i])) << "result " << i;
}

TEST(Block, SecondDerivativeIsRefused) {
  Tensors in;
  for (const auto& t : block_inputs(2, 5, 32, 64)) in.push_back(t.to(at::kFloat).requires_grad_(true));
  EXPECT_THROW(block(2)(in).sum().backward({}, /*retain_graph=*/true, /*create_graph=*/true), std::exception);
}

TEST(Block, Float64AndFusedOffTakeTheFormula) {
  const Tensors in = block_inputs(3, 5, 32, 64);
  const Tensors on = run_with_grads(block(2), in, at::kDouble, true), off = run_with_grads(block(2), in, at::kDouble, false);
  for (size_t i = 0; i < on.size(); ++i) EXPECT_TRUE(at::equal(on[i], off[i])) << "result " << i;
  const Tensors single = run_with_grads(block(2), in, at::kFloat, false);
  EXPECT_FALSE(at::equal(single[0], run_with_grads(block(2), in, at::kFloat, true)[0])) << "the switch has no effect";
}
