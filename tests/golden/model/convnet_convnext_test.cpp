// ConvNeXt against transformers' DINOv3ConvNext (which the script has compared with timm's).
#include "model/backbones/convnext.hpp"
#include "named_values.hpp"

namespace dinoxx::golden {
namespace {

struct Precision {
  at::ScalarType dtype;
  double tolerance;
};
constexpr std::array<Precision, 2> kPrecisions{{{at::kDouble, 1e-10}, {at::kFloat, 1e-5}}};

class GoldenConvNext : public testing::TestWithParam<const char*> {};

TEST_P(GoldenConvNext, FeaturesAtNativeAndOtherSize) {
  const std::string arch = GetParam();
  ConvNextConfig config = convnext_config("convnext_" + arch);
  if (arch == "large") config.depths = {3, 3, 3, 3};  // its weights would pass 1 GB
  const Fixture fixture("convnext");
  at::NoGradGuard no_grad;
  for (const auto& [dtype, tolerance] : kPrecisions) {
    SCOPED_TRACE(c10::toString(dtype));
    const ConvNext network(config, dtype);
    fill_named(network.parameters());
    for (const auto& [size, height, width] : {std::tuple{"native", 224, 224}, std::tuple{"other", 75, 101}}) {
      const at::Tensor images = uniform(std::string("images/") + size, {1, 3, height, width}).to(dtype);
      const std::string prefix = arch + "/" + size;
      const ConvFeatures features = network.forward_features(images);
      EXPECT_EQ(features.cls.scalar_type(), dtype);
      EXPECT_TRUE(fixture.matches(prefix + "/cls", features.cls, tolerance));
      EXPECT_TRUE(fixture.matches(prefix + "/patches", features.patches, tolerance));
      EXPECT_EQ(features.registers.sizes(), (std::vector<int64_t>{1, 0, network.feature_dim()}));
      for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(fixture.matches(fmt::format("{}/stage{}", prefix, i), features.stages.at(i), tolerance));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, GoldenConvNext, testing::Values("tiny", "small", "base", "large"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GoldenConvNextGradients, OfPooledFeatureAndPatches) {
  ConvNextConfig config;
  config.depths = {1, 2, 1, 1};
  config.dims = {8, 16, 24, 40};
  config.channels = 5;
  const Fixture fixture("convnext");
  for (const auto& [dtype, tolerance] : kPrecisions) {
    SCOPED_TRACE(c10::toString(dtype));
    const ConvNext network(config, dtype);
    fill_named(network.parameters());
    for (const auto& [name, tensor] : network.parameters()) tensor.set_requires_grad(true);
    const at::Tensor images = uniform("images/gradients", {3, 5, 64, 48}).to(dtype);
    const ConvFeatures features = network.forward_features(images);
    EXPECT_TRUE(fixture.matches("gradients/cls", features.cls, tolerance));
    EXPECT_TRUE(fixture.matches("gradients/patches", features.patches, tolerance));
    EXPECT_TRUE(fixture.matches("gradients/cls", network.forward(images), tolerance));
    const auto product = [](const at::Tensor& t, const std::string& name) {
      return (t * uniform(name + "/direction", t.sizes()).to(t.scalar_type())).sum();
    };
    (product(features.cls, "gradients/cls") + product(features.patches, "gradients/patches")).backward();
    for (const auto& [name, tensor] : network.parameters())
      EXPECT_TRUE(fixture.matches("gradients/grad/" + name, tensor.grad(), tolerance));
  }
}

}  // namespace
}  // namespace dinoxx::golden
