// The projection head where the golden values do not reach: bfloat16, degenerate rows, refusals.
#include "model/heads/dino_head.hpp"

#include <ATen/ATen.h>

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
  const at::Tensor expected = wide.forward(x.to(at::kFloat)), logits = narrow.forward(x.to(at::kBFloat16));
  EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near("logits", logits, expected, 0.03));
  (expected * direction.to(at::kFloat)).sum().backward();
  (logits * direction.to(at::kBFloat16)).sum().backward();
  for (size_t i = 0; i < wide.parameters().size(); ++i)
    EXPECT_TRUE(near(wide.parameters()[i].name, narrow.parameters()[i].tensor.grad(), wide.parameters()[i].tensor.grad(), 0.06));
}

TEST(DinoHead, LogitsAreCosinesTimesGain) {
  const DinoHead head = lively_head(at::kDouble);
  const at::Tensor logits = head.forward(golden::uniform("x", {20, 48}) * 1e3);
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
  const at::Tensor logits = head.forward(at::ones({2, 48}));
  EXPECT_EQ(logits.abs().max().item<float>(), 0.0f);
}

TEST(DinoHead, Refusals) {
  EXPECT_THROW(DinoHead({48, 64, 32, 0, 3}, at::kFloat), UsageError);
  EXPECT_THROW(DinoHead({48, 64, 32, 100, 0}, at::kFloat), UsageError);
}

}  // namespace
}  // namespace dinoxx
