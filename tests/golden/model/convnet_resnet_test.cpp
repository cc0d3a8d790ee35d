// Residual networks against torchvision's: evaluation, and training with batch statistics.
#include "model/backbones/resnet.hpp"
#include "model/layers/row_origin.hpp"
#include "named_values.hpp"

namespace dinoxx::golden {
namespace {

struct Precision {
  at::ScalarType dtype;
  double tolerance;
};
constexpr std::array<Precision, 2> kPrecisions{{{at::kDouble, 1e-10}, {at::kFloat, 1e-5}}};

ResNet filled(const ResNetConfig& config, at::ScalarType dtype) {
  ResNet network(config, dtype);
  fill_named(network.parameters());
  fill_named(network.buffers());
  return network;
}

class GoldenResNet : public testing::TestWithParam<const char*> {};

TEST_P(GoldenResNet, FeaturesAtNativeAndOtherSize) {
  const std::string arch = GetParam();
  const Fixture fixture("resnet");
  at::NoGradGuard no_grad;
  for (const auto& [dtype, tolerance] : kPrecisions) {
    SCOPED_TRACE(c10::toString(dtype));
    const ResNet network = filled(resnet_config(arch), dtype);
    for (const auto& [size, height, width] : {std::tuple{"native", 224, 224}, std::tuple{"other", 75, 101}}) {
      const at::Tensor images = uniform(std::string("images/") + size, {1, 3, height, width}).to(dtype);
      const std::string prefix = arch + "/" + size;
      const ConvFeatures features = network.forward_features(images);
      EXPECT_EQ(features.cls.scalar_type(), dtype);
      EXPECT_TRUE(fixture.matches(prefix + "/cls", features.cls, tolerance));
      EXPECT_TRUE(fixture.matches(prefix + "/cls", network.forward(images), tolerance));
      for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(fixture.matches(fmt::format("{}/stage{}", prefix, i), features.stages.at(i), tolerance));
      const at::Tensor map = features.patches.transpose(1, 2).reshape(features.stages[3].sizes());
      EXPECT_TRUE(fixture.matches(prefix + "/stage3", map, tolerance));
      EXPECT_EQ(features.registers.sizes(), (std::vector<int64_t>{1, 0, network.feature_dim()}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, GoldenResNet, testing::Values("resnet18", "resnet34", "resnet50"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GoldenResNetStem, SmallImages) {
  ResNetConfig config = resnet_config("resnet18");
  config.small_image_stem = true;
  const Fixture fixture("resnet");
  at::NoGradGuard no_grad;
  for (const auto& [dtype, tolerance] : kPrecisions)
    EXPECT_TRUE(fixture.matches("resnet18/small_stem/cls", filled(config, dtype).forward(uniform("images/small", {2, 3, 32, 32}).to(dtype)),
                                tolerance));
}

class GoldenResNetTraining : public testing::TestWithParam<bool> {};

// Gradients in float64 alone: torch's own in float32 are off by 1e-3 here, because rounding decides which side of a ReLU an element is on.
TEST_P(GoldenResNetTraining, FeaturesGradientsAndRunningStatistics) {
  ResNetConfig config;
  config.depths = {1, 2, 1, 1};
  config.bottleneck = GetParam();
  config.small_image_stem = !config.bottleneck;
  const int64_t height = config.bottleneck ? 64 : 32, width = config.bottleneck ? 96 : 24;
  const std::string prefix = config.bottleneck ? "train/bottleneck" : "train/basic";
  const Fixture fixture("resnet");
  const RowOrigin training;
  for (const auto& [dtype, tolerance] : kPrecisions) {
    SCOPED_TRACE(c10::toString(dtype));
    ResNet network = filled(config, dtype);
    for (const auto& [name, tensor] : network.parameters()) tensor.set_requires_grad(true);
    const auto images = [&, type = dtype](int batch, int64_t rows) {
      return uniform(fmt::format("images/{}/{}", prefix, batch), {rows, 3, height, width}).to(type);
    };
    const at::Tensor features = network.forward(images(0, 6), &training);
    EXPECT_TRUE(fixture.matches(prefix + "/features", features, tolerance));
    if (dtype == at::kDouble) {
      (features * uniform(prefix + "/direction", features.sizes())).sum().backward();
      for (const auto& [name, tensor] : network.parameters())
        EXPECT_TRUE(fixture.matches(prefix + "/grad/" + name, tensor.grad(), tolerance));
    }
    at::NoGradGuard no_grad;
    network.forward(images(1, 4), &training);
    for (const auto& [name, tensor] : network.buffers())
      EXPECT_TRUE(at::equal(tensor.to(at::kDouble), named_value(name, tensor.sizes()).to(tensor.scalar_type()).to(at::kDouble))) << name;
    network.commit_statistics();
    for (const auto& [name, tensor] : network.buffers())
      EXPECT_TRUE(fixture.matches(fmt::format("{}/buffer/{}", prefix, name), tensor, tolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, GoldenResNetTraining, testing::Bool(),
                         [](const auto& info) { return info.param ? "Bottleneck" : "Basic"; });

}  // namespace
}  // namespace dinoxx::golden
