// Batch normalisation: ranks, what a forward leaves behind, types and errors. Against torchvision:
// tests/golden/model/convnet_resnet_test.cpp.
#include "model/layers/batch_norm.hpp"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "batch_norm_suite.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "ops_compare.hpp"
#include "thread_ranks.hpp"

namespace dinoxx::golden {
namespace {

class BatchNormRanks : public testing::TestWithParam<int> {};

TEST_P(BatchNormRanks, AreOneRankWithTheWholeBatch) {
  testing_support::run_thread_ranks(GetParam(),
                                    [](const std::shared_ptr<Communicator>& comm) { check_batch_norm_over_ranks(comm, at::kCPU); });
}

INSTANTIATE_TEST_SUITE_P(Sizes, BatchNormRanks, testing::Values(1, 2, 3, 4), testing::PrintToStringParamName());

struct Layer {
  explicit Layer(int64_t channels, at::ScalarType dtype = at::kDouble) : norm(channels, dtype) {
    norm.append_to("bn.", parameters, buffers);
    fill_named(parameters);
    fill_named(buffers);
  }
  std::vector<at::Tensor> statistics() const { return {buffers[0].tensor.clone(), buffers[1].tensor.clone(), buffers[2].tensor.clone()}; }
  NamedTensors parameters, buffers;
  BatchNorm norm;
};

bool equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) { return at::equal(x, y); });
}

TEST(BatchNorm, NamesAndFirstValues) {
  NamedTensors parameters, buffers;
  const BatchNorm norm(2, at::kBFloat16);
  norm.append_to("layer1.0.bn1.", parameters, buffers);
  ASSERT_EQ(parameters.size(), 2u);
  ASSERT_EQ(buffers.size(), 3u);
  EXPECT_EQ(parameters[0].name, "layer1.0.bn1.weight");
  EXPECT_EQ(parameters[1].name, "layer1.0.bn1.bias");
  for (const NamedTensor& parameter : parameters) EXPECT_TRUE(parameter.tensor.isnan().all().item<bool>()) << parameter.name;
  EXPECT_EQ(buffers[0].name, "layer1.0.bn1.running_mean");
  EXPECT_EQ(buffers[1].name, "layer1.0.bn1.running_var");
  EXPECT_EQ(buffers[2].name, "layer1.0.bn1.num_batches_tracked");
  EXPECT_EQ(buffers[0].tensor.scalar_type(), at::kFloat) << "running statistics of a bfloat16 network";
  EXPECT_TRUE(at::equal(buffers[1].tensor, at::ones({2})));
  EXPECT_EQ(buffers[2].tensor.scalar_type(), at::kLong);
}

TEST(BatchNorm, ForwardLeavesRunningStatisticsUntilCommit) {
  Layer layer(3);
  const auto before = layer.statistics();
  const at::Tensor x = uniform("x", {4, 3, 2, 2});
  layer.norm.forward(x, true);
  layer.norm.forward(x, false);
  EXPECT_TRUE(equal(layer.statistics(), before));
  EXPECT_EQ(layer.norm.pending_statistics(), 1u);

  layer.norm.discard_statistics();
  layer.norm.commit_statistics();
  EXPECT_TRUE(equal(layer.statistics(), before));

  layer.norm.forward(x, true);
  layer.norm.commit_statistics();
  EXPECT_EQ(layer.norm.pending_statistics(), 0u);
  EXPECT_TRUE(near("mean", layer.buffers[0].tensor, before[0] * 0.9 + x.mean({0, 2, 3}) * 0.1, 1e-14));
  EXPECT_TRUE(
      near("variance", layer.buffers[1].tensor, before[1] * 0.9 + x.transpose(0, 1).flatten(1).var(1, /*unbiased=*/true) * 0.1, 1e-14));
  EXPECT_EQ(layer.buffers[2].tensor.item<int64_t>(), 4);
}

// Gradients flow into input, gain and bias with fixed statistics too (fine-tuning on a frozen norm).
TEST(BatchNorm, EvaluationIsAnAffineMap) {
  Layer layer(3);
  for (const NamedTensor& parameter : layer.parameters) parameter.tensor.set_requires_grad(true);
  const at::Tensor x = uniform("x", {4, 3, 2, 2}).set_requires_grad(true), direction = uniform("direction", {4, 3, 2, 2});
  const auto column = [](const at::Tensor& t) { return t.view({1, 3, 1, 1}); };
  const at::Tensor normed = (x.detach() - column(layer.buffers[0].tensor)) / (column(layer.buffers[1].tensor) + 1e-5).sqrt();
  const at::Tensor y = layer.norm.forward(x, false);
  (y * direction).sum().backward();
  const at::Tensor gain = layer.parameters[0].tensor.detach();
  EXPECT_TRUE(near("output", y, normed * column(gain) + column(layer.parameters[1].tensor.detach()), 1e-14));
  EXPECT_TRUE(near("input", x.grad(), direction * column(gain) / (column(layer.buffers[1].tensor) + 1e-5).sqrt(), 1e-14));
  EXPECT_TRUE(near("gain", layer.parameters[0].tensor.grad(), (direction * normed).sum({0, 2, 3}), 1e-13));
  EXPECT_TRUE(near("bias", layer.parameters[1].tensor.grad(), direction.sum({0, 2, 3}), 1e-14));
}

// The gradient against finite differences, statistics included.
TEST(BatchNorm, GradientIsTheSlope) {
  Layer layer(2);
  const at::Tensor x = uniform("slope/x", {3, 2, 2, 1}).set_requires_grad(true), direction = uniform("slope/direction", {3, 2, 2, 1});
  const auto loss = [&](const at::Tensor& values) { return (layer.norm.forward(values, true).pow(3) * direction).sum(); };
  loss(x).backward();
  at::NoGradGuard no_grad;
  for (int64_t i = 0; i < x.numel(); ++i) {
    at::Tensor up = x.detach().clone(), down = x.detach().clone();
    up.view(-1)[i] += 1e-5;
    down.view(-1)[i] -= 1e-5;
    const double slope = (loss(up) - loss(down)).item<double>() / 2e-5;
    EXPECT_NEAR(x.grad().view(-1)[i].item<double>(), slope, 1e-7 * x.grad().abs().max().item<double>()) << "element " << i;
  }
}

// bfloat16 activations, statistics in float32: off by the rounding of input and output alone.
TEST(BatchNorm, LowPrecisionKeepsExactStatistics) {
  Layer low(4, at::kBFloat16);
  Layer wide(4);
  {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < 2; ++i) wide.parameters[i].tensor.copy_(low.parameters[i].tensor);
  }
  const at::Tensor x = (uniform("x", {32, 4, 8, 8}) + 2.0).to(at::kBFloat16);
  const auto run = [](Layer& layer, const at::Tensor& input) {
    const at::Tensor leaf = input.detach().clone().set_requires_grad(true);
    for (const NamedTensor& parameter : layer.parameters) parameter.tensor.set_requires_grad(true);
    const at::Tensor y = layer.norm.forward(leaf, true);
    (y * uniform("direction", {32, 4, 8, 8}).to(y.scalar_type())).sum().backward();
    return std::pair{y, leaf.grad()};
  };
  const auto [y_low, dx_low] = run(low, x);
  const auto [y_wide, dx_wide] = run(wide, x.to(at::kDouble));
  EXPECT_EQ(y_low.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near("output", y_low, y_wide, 0x1p-8));
  EXPECT_TRUE(near("gradient", dx_low, dx_wide, 0x1p-7));
  low.norm.commit_statistics();
  wide.norm.commit_statistics();
  EXPECT_TRUE(near("running mean", low.buffers[0].tensor, wide.buffers[0].tensor, 1e-6));
  EXPECT_TRUE(near("running variance", low.buffers[1].tensor, wide.buffers[1].tensor, 1e-6));
}

TEST(BatchNorm, MemoryFormatOfTheInputIsKept) {
  Layer layer(3);
  const at::Tensor x = uniform("x", {4, 3, 2, 5});
  const at::Tensor y = layer.norm.forward(x, true), y_last = layer.norm.forward(x.contiguous(at::MemoryFormat::ChannelsLast), true);
  EXPECT_TRUE(y_last.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(near("channels last", y_last, y, 1e-14));
}

// relu(norm(x) + residual) of {x, weight, bias, residual}, the last undefined for none; no rectifier without `relu`.
test::Operation fused_layer(bool relu) {
  return [relu](const test::Tensors& t) {
    Layer layer(t[0].size(1), t[0].scalar_type());
    for (size_t i = 0; i < 2; ++i) {
      const at::Tensor &parameter = layer.parameters[i].tensor, &leaf = t[1 + i];
      parameter.set_data(leaf.detach());
      parameter.set_requires_grad(true);
      parameter.register_hook([leaf](const at::Tensor& grad) { leaf.mutable_grad() = grad; });
    }
    const at::Tensor x = t[0].dim() == 4 ? t[0].contiguous(at::MemoryFormat::ChannelsLast) : t[0];
    return relu ? layer.norm.forward_relu(x, true, t[3]) : layer.norm.forward(x, true);
  };
}

// Channels that fill no register, several, and one; rows of several chunks.
TEST(BatchNorm, OwnKernelsAreTheFormula) {
  for (const int64_t channels : {1, 3, 16, 19, 40, 64}) {
    for (const bool images : {true, false}) {
      SCOPED_TRACE(testing::Message() << channels << (images ? " channels of images" : " columns"));
      const std::vector<int64_t> shape = images ? std::vector<int64_t>{5, channels, 7, 6} : std::vector<int64_t>{130, channels};
      const test::Tensors in{test::normal(shape, 1, 2.0) + 0.5, test::normal({channels}, 2), test::normal({channels}, 3), {}};
      test::Tensors with_residual = in;
      with_residual[3] = test::normal(shape, 4);
      test::compare(fused_layer(false), in);
      test::compare(fused_layer(true), in);
      test::compare(fused_layer(true), with_residual);
    }
  }
}

TEST(BatchNorm, OwnKernelsDoNotDependOnTheThreads) {
  const test::Tensors in{test::normal({9, 24, 11, 10}, 1), test::normal({24}, 2), test::normal({24}, 3), test::normal({9, 24, 11, 10}, 4)};
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const test::Tensors one = test::run_with_grads(fused_layer(true), in, at::kBFloat16, true);
  at::set_num_threads(3);
  const test::Tensors three = test::run_with_grads(fused_layer(true), in, at::kBFloat16, true);
  at::set_num_threads(before);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i], three[i])) << "result " << i;
}

// The variance must not come from a difference of squares.
TEST(BatchNorm, OwnKernelsOfALargeMean) {
  Layer single(16, at::kFloat), wide(16);
  for (size_t i = 0; i < 2; ++i) wide.parameters[i].tensor.copy_(single.parameters[i].tensor);
  const at::Tensor x = (test::normal({300, 16}, 1) + 1000.0).to(at::kFloat);
  EXPECT_TRUE(near("output", single.norm.forward(x, true), wide.norm.forward(x.to(at::kDouble), true), 3e-4));
}

TEST(BatchNorm, NotANumberStaysOne) {
  at::Tensor x = test::normal({8, 20}, 1).to(at::kFloat);
  x[3][5] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor y = Layer(20, at::kFloat).norm.forward_relu(x, true);
  EXPECT_TRUE(y.select(1, 5).isnan().all().item<bool>());
  EXPECT_EQ(y.isnan().sum().item<int64_t>(), 8);
}

TEST(BatchNorm, EvaluationWithoutGradientsIsTheSame) {
  const Layer layer(19, at::kFloat);
  const at::Tensor x = test::normal({4, 19, 3, 5}, 1).to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor residual = test::normal({4, 19, 3, 5}, 2).to(at::kFloat);
  const at::Tensor with = layer.norm.forward_relu(x, false, residual);
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(near("output", layer.norm.forward_relu(x, false, residual), with, 1e-6));
}

template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(BatchNorm, Errors) {
  using testing::HasSubstr;
  const Layer layer(3);
  EXPECT_THAT(error_of([&] { layer.norm.forward(at::zeros({2, 4, 1, 1}, at::kDouble), true); }), HasSubstr("expected [B, 3]"));
  EXPECT_THAT(error_of([&] { layer.norm.forward(at::zeros({0, 3, 1, 1}, at::kDouble), true); }), HasSubstr("not empty"));
  EXPECT_THAT(error_of([&] {
                layer.norm.forward(at::zeros({1, 3, 1, 1}, at::kDouble), true);
              }),
              HasSubstr("more than one value per channel"));
  EXPECT_NO_THROW(layer.norm.forward(at::zeros({1, 3, 1, 1}, at::kDouble), false));
  EXPECT_THAT(error_of([] { BatchNorm(0, at::kFloat); }), HasSubstr("one channel or more"));
}

// One image of one pixel on each rank is a batch.
TEST(BatchNorm, OneValueOnEachOfTwoRanks) {
  testing_support::run_thread_ranks(2, [](const std::shared_ptr<Communicator>& comm) {
    Layer layer(1);
    layer.norm.set_group(comm);
    const at::Tensor y = layer.norm.forward(at::full({1, 1}, comm->rank() == 0 ? -1.0 : 1.0, at::kDouble), true);
    const double gain = layer.parameters[0].tensor.item<double>(), bias = layer.parameters[1].tensor.item<double>();
    EXPECT_NEAR(y.item<double>(), (comm->rank() == 0 ? -gain : gain) / std::sqrt(1.0 + 1e-5) + bias, 1e-14);
  });
}

}  // namespace
}  // namespace dinoxx::golden
