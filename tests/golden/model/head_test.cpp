// The projection head against facebookresearch/dino's, with frozen and free gain.
#include "model/heads/dino_head.hpp"

#include "cases.hpp"

namespace dinoxx::golden {
namespace {

struct HeadCase {
  const char* name;
  bool frozen_gain;
  int layers;
  friend void PrintTo(const HeadCase& c, std::ostream* out) { *out << c.name; }
};

class GoldenHead : public testing::TestWithParam<HeadCase> {};

TEST_P(GoldenHead, LogitsAndGradients) {
  const auto& [name, frozen_gain, layers] = GetParam();
  const Fixture fixture("model");
  for (const Precision& p : precisions()) {
    SCOPED_TRACE(fmt::format("{} {}", c10::toString(p.dtype), p.fused ? "kernels" : "formulas"));
    const FusedScope scope(p.fused);
    DinoHead head(tiny_head(layers), p.dtype);
    fill_parameters(head.parameters(), frozen_gain ? "weight_g" : "");
    require_gradients(head.parameters(), frozen_gain ? "weight_g" : "-");
    const at::Tensor x = uniform("head/input", {6, 48}).to(p.dtype).set_requires_grad(true);
    const std::string prefix = std::string("head/") + name;

    const at::Tensor logits = head.forward(x, true);
    EXPECT_TRUE(fixture.matches(prefix + "/logits", logits, p.tolerance));
    backward(logits, prefix);
    EXPECT_TRUE(fixture.matches(prefix + "/grad_input", x.grad(), p.tolerance));
    expect_gradients(fixture, prefix, head.parameters(), p.tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenHead,
                         testing::Values(HeadCase{"frozen_gain", true, 3}, HeadCase{"free_gain", false, 3},
                                         HeadCase{"one_layer", false, 1}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dinoxx::golden
