// The projection head where the golden values do not reach: bfloat16, degenerate rows, refusals.
#include "model/heads/dino_head.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"
#include "golden.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

using golden::near;

DinoHead lively_head(at::ScalarType dtype) {
  DinoHead head({48, 64, 32, 100, 3}, dtype);
  golden::fill_parameters(head.parameters());
  for (const auto& [name, tensor] : head.parameters()) tensor.set_requires_grad(true);
  return head;
}

TEST(DinoHead, Bfloat16FollowsFloat) {
  const DinoHead wide = lively_head(at::kFloat), narrow = lively_head(at::kBFloat16);
  const at::Tensor x = golden::uniform("x", {20, 48}), direction = golden::uniform("d", {20, 100});
  const at::Tensor expected = wide.forward(x.to(at::kFloat), true), logits = narrow.forward(x.to(at::kBFloat16), true);
  EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near("logits", logits, expected, 0.03));
  (expected * direction.to(at::kFloat)).sum().backward();
  (logits * direction.to(at::kBFloat16)).sum().backward();
  for (size_t i = 0; i < wide.parameters().size(); ++i)
    EXPECT_TRUE(near(wide.parameters()[i].name, narrow.parameters()[i].tensor.grad(), wide.parameters()[i].tensor.grad(), 0.06));
}

TEST(DinoHead, LogitsAreCosinesTimesGain) {
  const DinoHead head = lively_head(at::kDouble);
  const at::Tensor logits = head.forward(golden::uniform("x", {20, 48}) * 1e3, true);
  const at::Tensor gain = head.parameters()[6].tensor;
  ASSERT_EQ(head.parameters()[6].name, "last_layer.weight_g");
  EXPECT_LE((logits.abs() - gain.t()).max().item<double>(), 1e-12);
}

TEST(DinoHead, RowOfZerosBeforeTheNormalisationIsFinite) {
  DinoHead head = lively_head(at::kFloat);
  {
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : head.parameters())
      if (name.starts_with("mlp.4")) tensor.zero_();
  }
  const at::Tensor logits = head.forward(at::ones({2, 48}), true);
  EXPECT_EQ(logits.abs().max().item<float>(), 0.0f);
}

TEST(DinoHead, WithoutPrototypesEndsWithNormalisedRows) {
  DinoHead head({48, 64, 32, 0, 3}, at::kDouble);
  golden::fill_parameters(head.parameters());
  ASSERT_EQ(head.parameters().size(), 6u);
  const at::Tensor x = golden::uniform("x", {20, 48}), rows = head.forward(x, true);
  EXPECT_EQ(rows.sizes(), (std::vector<int64_t>{20, 32}));
  EXPECT_TRUE(near("norms", at::linalg_vector_norm(rows, 2, -1), at::ones({20}, at::kDouble), 1e-12));
  EXPECT_TRUE(rows.equal(head.bottleneck(x, true)));
}

// The released code's Sequential(Linear, BatchNorm1d, GELU, Linear, BatchNorm1d, GELU, Linear), names and formula.
TEST(DinoHead, BatchNormBehindEachHiddenLayer) {
  DinoHeadConfig config{48, 64, 32, 100, 3};
  config.batch_norm = true;
  DinoHead head(config, at::kDouble);
  head.initialize(3, 0);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : head.parameters()) names.push_back(name);
  EXPECT_THAT(names,
              testing::ElementsAre("mlp.0.weight", "mlp.0.bias", "mlp.1.weight", "mlp.1.bias", "mlp.3.weight", "mlp.3.bias", "mlp.4.weight",
                                   "mlp.4.bias", "mlp.6.weight", "mlp.6.bias", "last_layer.weight_g", "last_layer.weight_v"));
  EXPECT_EQ(head.buffers().size(), 6u);
  EXPECT_TRUE(head.parameters()[2].tensor.equal(at::ones({64}, at::kDouble))) << "a norm begins with weight 1";
  golden::fill_parameters(head.parameters());
  const auto of = [&](const std::string& name) {
    return std::ranges::find(head.parameters(), name, [](const NamedTensor& t) { return t.name; })->tensor;
  };
  const auto linear = [&](const at::Tensor& x, const std::string& at) { return at::linear(x, of(at + ".weight"), of(at + ".bias")); };
  const auto norm = [&](const at::Tensor& x, const std::string& at) {
    const at::Tensor middle = x - x.mean(0), spread = (middle.square().mean(0) + 1e-5).sqrt();
    return middle / spread * of(at + ".weight") + of(at + ".bias");
  };
  const at::Tensor x = golden::uniform("x", {20, 48});
  const at::Tensor hidden = at::gelu(norm(linear(at::gelu(norm(linear(x, "mlp.0"), "mlp.1")), "mlp.3"), "mlp.4")),
                   rows = linear(hidden, "mlp.6");
  EXPECT_TRUE(near("rows", head.bottleneck(x, true), rows / at::linalg_vector_norm(rows, 2, -1, true), 1e-9));
  // untrained running statistics, mean 0 and variance 1, where it only looks
  EXPECT_FALSE(at::allclose(head.bottleneck(x, false), head.bottleneck(x, true)));
  EXPECT_EQ(head.norms().size(), 2u);
  EXPECT_GT(head.norms().front().pending_statistics(), 0u);
}

TEST(DinoHead, Refusals) {
  EXPECT_THROW(DinoHead({48, 64, 32, -1, 3}, at::kFloat), UsageError);
  EXPECT_THROW(DinoHead({48, 64, 32, 100, 0}, at::kFloat), UsageError);
}

}  // namespace
}  // namespace dinoxx
