// The vision transformer against facebookresearch/dino's, at the learned size and at others.
#include "model/backbones/vit.hpp"

#include "cases.hpp"

namespace dinoxx::golden {
namespace {

struct ImageCase {
  const char* name;
  int64_t height, width;
  friend void PrintTo(const ImageCase& c, std::ostream* out) { *out << c.name; }
};

class GoldenVit : public testing::TestWithParam<ImageCase> {};

TEST_P(GoldenVit, FeaturesTokensAndGradients) {
  const auto& [name, height, width] = GetParam();
  const Fixture fixture("model");
  for (const Precision& p : precisions()) {
    SCOPED_TRACE(fmt::format("{} {}", c10::toString(p.dtype), p.fused ? "kernels" : "formulas"));
    const FusedScope scope(p.fused);
    VisionTransformer vit(tiny_vit(), p.dtype);
    fill_parameters(vit.parameters());
    require_gradients(vit.parameters());
    const at::Tensor images = uniform(std::string("images/") + name, {3, 3, height, width}).to(p.dtype);
    const std::string prefix = std::string("vit/") + name;

    const at::Tensor features = vit.forward(images);
    EXPECT_EQ(features.scalar_type(), p.dtype);
    EXPECT_TRUE(fixture.matches(prefix + "/features", features, p.tolerance));
    backward(features, prefix);
    expect_gradients(fixture, prefix, vit.parameters(), p.tolerance);

    at::NoGradGuard no_grad;
    EXPECT_TRUE(fixture.matches(prefix + "/tokens", vit.forward_tokens(images), p.tolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, GoldenVit,
                         testing::Values(ImageCase{"native", 16, 16}, ImageCase{"larger", 24, 24}, ImageCase{"local", 8, 8},
                                         ImageCase{"oblong", 12, 20}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dinoxx::golden
