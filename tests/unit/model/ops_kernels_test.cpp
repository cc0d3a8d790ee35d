#include "ops_compare.hpp"

using namespace dinoxx;
using namespace dinoxx::test;

TEST(Ops, LayerNorm) {
  for (const int64_t dim : {1, 3, 16, 40, 192, 387}) {
    SCOPED_TRACE(dim);
    const Tensors in{normal({5, 29, dim}, 1) + 0.7, normal({dim}, 2), normal({dim}, 3)};
    const auto f = [](const Tensors& t) { return ops::layer_norm(t[0], t[1], t[2], 1e-6); };
    if (dim > 1) compare(f, in);
    expect_deterministic(f, in, at::kFloat);
  }
}

TEST(Ops, LayerNormOfALargeMean) {
  // a mean of 1000 times the deviation: the variance must not come from a difference of squares
  const Tensors in{normal({7, 192}, 1) + 1000.0, at::ones({192}, at::kDouble), at::zeros({192}, at::kDouble)};
  const at::Tensor exact = at::layer_norm(in[0].to(at::kFloat).to(at::kDouble), {192}, in[1], in[2], 1e-6);
  const at::Tensor ours = ops::layer_norm(in[0].to(at::kFloat), in[1].to(at::kFloat), in[2].to(at::kFloat), 1e-6);
  EXPECT_LT(largest(ours.to(at::kDouble) - exact), 2e-4);  // the mean itself has a rounding of 6e-5 deviations
}

TEST(Ops, Linear) {
  for (const auto& [rows, in, out] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {13, 7, 33}, {150, 513, 47}, {64, 192, 576}, {29, 1027, 100}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << in << " -> " << out);
    const Tensors t{normal({2, rows, in}, 1), normal({out, in}, 2, 0.1), normal({out}, 3)};
    compare([](const Tensors& t) { return ops::linear(t[0], t[1], t[2]); }, t);
    compare([](const Tensors& t) { return ops::linear(t[0], t[1], {}); }, {t[0], t[1]});
    compare([](const Tensors& t) { return ops::linear_gelu(t[0], t[1], t[2]); }, t);
  }
}

TEST(Ops, LinearOfNonContiguousInputs) {
  const Tensors t{normal({9, 3, 20}, 1), normal({20, 12}, 2)};
  compare([](const Tensors& t) { return ops::linear(t[0].select(1, 0), t[1].t(), {}); }, t);
}

TEST(Ops, LinearWithoutRows) {
  const at::Tensor x = at::zeros({0, 4}), w = at::ones({3, 4}).requires_grad_(true);
  const at::Tensor y = ops::linear(x, w, {});
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{0, 3}));
  y.sum().backward();
  EXPECT_EQ(largest(w.grad()), 0.0);
}

TEST(Ops, GeluIsTheErrorFunctionForm) {
  const at::Tensor x = at::linspace(-12, 12, 200001, at::kFloat).requires_grad_(true);
  const at::Tensor y = ops::gelu(x);
  y.sum().backward();
  double worst_value = 0, worst_slope = 0, worst_tail = 0;
  const float *px = x.const_data_ptr<float>(), *py = y.const_data_ptr<float>();
  const at::Tensor grad = x.grad();
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double v = px[i], phi = 0.5 * std::erfc(-v / std::sqrt(2.0)), density = std::exp(-0.5 * v * v) / std::sqrt(2.0 * M_PI);
    worst_value = std::max(worst_value, std::abs(py[i] - v * phi) / std::max(1.0, std::abs(v)));
    worst_slope = std::max(worst_slope, std::abs(grad.const_data_ptr<float>()[i] - (phi + v * density)));
    if (v < -0.5 && v > -9.0) worst_tail = std::max(worst_tail, std::abs(py[i] / (v * phi) - 1.0));
  }
  EXPECT_LT(worst_value, 5e-7);  // phi, so erf to 1e-6
  EXPECT_LT(worst_slope, 1e-6);
  EXPECT_LT(worst_tail, 1e-5);  // relative: the negative tail is no difference of nearly equal numbers
}

TEST(Ops, Gelu) {
  compare([](const Tensors& t) { return ops::gelu(t[0]); }, {normal({7, 333}, 1, 2.0)});
}

TEST(Ops, NotANumberStaysOne) {
  const float nan = std::nanf("");
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    at::Tensor x = at::ones({2, 3, 48}, type);
    x.select(0, 0).select(0, 1).select(0, 2).fill_(nan);
    EXPECT_TRUE(ops::gelu(x).isnan().any().item<bool>());
    EXPECT_TRUE(ops::attention(x, 1).isnan().any().item<bool>());
    EXPECT_TRUE(ops::layer_norm(x, at::ones({48}, type), at::zeros({48}, type), 1e-6).isnan().any().item<bool>());
    EXPECT_TRUE(ops::linear(x, at::ones({5, 48}, type), {}).isnan().any().item<bool>());
    EXPECT_FALSE(ops::attention(x, 1).select(0, 1).isnan().any().item<bool>());
  }
}

TEST(Ops, Attention) {
  for (const int64_t tokens : {1, 5, 17, 50, 65, 197})
    for (const int64_t head_dim : {16, 32, 48, 64}) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, head dimension " << head_dim);
      const int64_t batch = tokens > 100 ? 2 : 9, heads = head_dim == 48 ? 2 : 3;
      compare([heads](const Tensors& t) { return ops::attention(t[0], static_cast<int>(heads)); },
              {normal({batch, tokens, 3 * heads * head_dim}, 1)});
    }
}

TEST(Ops, AttentionOfOddHeadDimensionAndManyTokens) {
  compare([](const Tensors& t) { return ops::attention(t[0], 2); }, {normal({3, 11, 3 * 2 * 10}, 1)});
  compare([](const Tensors& t) { return ops::attention(t[0], 2); }, {normal({1, 400, 3 * 2 * 16}, 1)});
}

TEST(Ops, AttentionWithLargeLogits) {
  // one key wins by far: exp must neither overflow nor lose the others' order. A logit's rounding is a relative error of its probability
  const Operation f = [](const Tensors& t) { return ops::attention(t[0], 1); };
  const Tensors in{normal({2, 17, 3 * 32}, 1) * 12.0};
  const auto parts = in[0].chunk(3, -1);
  const double logit = largest(at::matmul(parts[0], parts[1].transpose(1, 2))) / std::sqrt(32.0);
  ASSERT_GT(logit, 200.0);
  const Tensors exact = run_with_grads(f, in, at::kDouble, false), fused = run_with_grads(f, in, at::kFloat, true);
  EXPECT_LE(largest(fused[0] - exact[0]), 2.5e-7 * logit * largest(parts[2]));
  EXPECT_LE(rms(fused[1] - exact[1]), 1e-4 * rms(exact[1]));
}
