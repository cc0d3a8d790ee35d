// ConvNeXt: names, initial values, stochastic depth and errors. Values: tests/golden/model/convnet_convnext_test.cpp.
#include "model/backbones/convnext.hpp"

#include <gmock/gmock.h>

#include "dinoxx/base/error.hpp"
#include "model/layers/row_origin.hpp"
#include "named_values.hpp"

namespace dinoxx::golden {
namespace {

using testing::HasSubstr;

ConvNextConfig small() {
  ConvNextConfig config;
  config.depths = {1, 2, 1, 1};
  config.dims = {8, 12, 16, 24};
  return config;
}

ConvNext filled(const ConvNextConfig& config, at::ScalarType dtype = at::kDouble) {
  ConvNext network(config, dtype);
  fill_named(network.parameters());
  return network;
}

TEST(ConvNext, PublishedSizes) {
  // transformers' DINOv3ConvNextModel of equal depths and widths
  for (const auto& [arch, parameters, dim] :
       {std::tuple{"convnext_tiny", 27'820'128, 768}, std::tuple{"convnext_small", 49'454'688, 768},
        std::tuple{"convnext_base", 87'566'464, 1024}, std::tuple{"convnext_large", 196'230'336, 1536}}) {
    const ConvNext network(convnext_config(arch), at::kBFloat16);
    int64_t count = 0;
    for (const NamedTensor& parameter : network.parameters()) count += parameter.tensor.numel();
    EXPECT_EQ(count, parameters) << arch;
    EXPECT_EQ(network.feature_dim(), dim) << arch;
  }
}

TEST(ConvNext, NamesInOrderOfExecution) {
  const ConvNext network(small(), at::kFloat);
  std::vector<std::string> names;
  for (const NamedTensor& parameter : network.parameters()) names.push_back(parameter.name);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  ASSERT_GE(names.size(), 17u);
  EXPECT_EQ(names.back(), "norm.bias");
  names.resize(17);
  EXPECT_THAT(names, testing::ElementsAre("downsample_layers.0.0.weight", "downsample_layers.0.0.bias", "downsample_layers.0.1.weight",
                                          "downsample_layers.0.1.bias", "stages.0.0.dwconv.weight", "stages.0.0.dwconv.bias",
                                          "stages.0.0.norm.weight", "stages.0.0.norm.bias", "stages.0.0.pwconv1.weight",
                                          "stages.0.0.pwconv1.bias", "stages.0.0.pwconv2.weight", "stages.0.0.pwconv2.bias",
                                          "stages.0.0.gamma", "downsample_layers.1.0.weight", "downsample_layers.1.0.bias",
                                          "downsample_layers.1.1.weight", "downsample_layers.1.1.bias"));
}

TEST(ConvNext, InitialValues) {
  ConvNext a(small(), at::kFloat), b(small(), at::kFloat), c(small(), at::kFloat);
  for (const NamedTensor& parameter : a.parameters()) EXPECT_TRUE(parameter.tensor.isnan().all().item<bool>()) << parameter.name;
  a.initialize(7);
  b.initialize(7);
  c.initialize(8);
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    const auto& [name, tensor] = a.parameters()[i];
    EXPECT_TRUE(at::equal(tensor, b.parameters()[i].tensor)) << name;
    EXPECT_EQ(at::equal(tensor, c.parameters()[i].tensor), tensor.dim() == 1) << name;
    const double first = tensor.view(-1)[0].item<double>();
    if (name.ends_with("gamma")) {
      EXPECT_FLOAT_EQ(static_cast<float>(first), 1e-6f) << name;
    } else if (tensor.dim() == 1) {
      EXPECT_EQ(first, name.ends_with("bias") ? 0.0 : 1.0) << name;
    } else if (tensor.numel() > 500) {
      EXPECT_NEAR(tensor.std().item<double>(), 0.02, 0.002) << name;
    }
  }
}

TEST(ConvNext, StochasticDepthIsAFunctionOfThePosition) {
  ConvNextConfig config = small();
  config.drop_path = 0.8;
  const ConvNext network = filled(config);
  const std::vector<uint64_t> positions{3, 14, 15, 92};
  const at::Tensor images = uniform("images", {4, 3, 32, 48});
  const RowOrigin origin{.seed = 5, .positions = positions, .first_view = 0};
  const at::Tensor all = network.forward(images, &origin), evaluated = network.forward(images);
  EXPECT_FALSE(near("evaluation", all, evaluated, 1e-3));
  EXPECT_TRUE(near("evaluation", filled(small()).forward(images, &origin), evaluated, 1e-14)) << "rate 0";
  for (size_t i = 0; i < positions.size(); ++i) {
    const RowOrigin one{.seed = 5, .positions = std::span(positions).subspan(i, 1), .first_view = 0};
    const auto row = static_cast<int64_t>(i);
    EXPECT_TRUE(near("sample by sample", network.forward(images.narrow(0, row, 1), &one), all.narrow(0, row, 1), 1e-13));
  }
}

// Rates 0, 1/4, 1/2 and 3/4 over four blocks: a branch is dropped with its rate, and else counts 1 / (1 - rate).
TEST(ConvNext, ABranchIsDroppedOrScaledUp) {
  ConvNextConfig config = small();
  config.depths = {1, 1, 1, 1};
  config.drop_path = 0.75;
  const ConvNext network = filled(config);
  const std::array<double, 4> rates{0, 0.25, 0.5, 0.75};
  const auto with_gammas = [&](const std::function<double(size_t)>& factor) {
    const ConvNext other = filled(config);
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : other.parameters())
      for (size_t s = 0; s < 4; ++s)
        if (name == fmt::format("stages.{}.0.gamma", s)) tensor.mul_(factor(s));
    return other;
  };
  std::vector<uint64_t> positions(400);
  std::iota(positions.begin(), positions.end(), 0);
  const RowOrigin origin{.seed = 1, .positions = positions, .first_view = 0};
  const at::Tensor image = uniform("one image", {1, 3, 32, 32});
  const at::Tensor rows = network.forward(image.expand({400, 3, 32, 32}), &origin);
  const auto share_equal_to = [&](const ConvNext& other) {
    return ((rows - other.forward(image)).abs().amax(1) < 1e-12).to(at::kDouble).mean().item<double>();
  };
  EXPECT_NEAR(share_equal_to(with_gammas([&](size_t s) { return rates[s] > 0 ? 0.0 : 1.0; })), 0.25 * 0.5 * 0.75, 0.05);
  EXPECT_NEAR(share_equal_to(with_gammas([&](size_t s) { return 1.0 / (1.0 - rates[s]); })), 0.75 * 0.5 * 0.25, 0.05);
  EXPECT_EQ(share_equal_to(network), 0.0);
}

TEST(ConvNext, RemaindersOfASideAreNotSeen) {
  const ConvNext network = filled(small());
  const at::Tensor images = uniform("images", {2, 3, 67, 99});
  const ConvFeatures features = network.forward_features(images);
  EXPECT_EQ(features.patches.sizes(), (std::vector<int64_t>{2, 2 * 3, 24}));
  EXPECT_EQ(features.stages[0].sizes(), (std::vector<int64_t>{2, 8, 16, 24}));
  EXPECT_TRUE(near("cropped to the pixels that are seen", network.forward(images.slice(2, 0, 64).slice(3, 0, 96)), features.cls, 1e-13));
}

TEST(ConvNext, Bfloat16IsNearFloat) {
  const ConvNext low = filled(small(), at::kBFloat16), wide = filled(small(), at::kFloat);
  const at::Tensor images = uniform("images", {2, 3, 64, 64});
  const at::Tensor features = low.forward(images);
  EXPECT_EQ(features.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near("features", features, wide.forward(images), 0.05));
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

TEST(ConvNext, Errors) {
  EXPECT_THAT(error_of([] { convnext_config("convnext_tinny"); }), HasSubstr("Did you mean convnext_tiny?"));
  EXPECT_THROW(convnext_config("resnet18"), UsageError);
  ConvNextConfig config = small();
  config.dims[1] = 0;
  EXPECT_THROW(ConvNext(config, at::kFloat), UsageError);
  config = small();
  config.drop_path = 1;
  EXPECT_THROW(ConvNext(config, at::kFloat), UsageError);
  EXPECT_THROW(ConvNext(small(), at::kHalf), UsageError);

  const ConvNext network(small(), at::kFloat);
  EXPECT_THAT(error_of([&] { network.forward(at::zeros({1, 1, 64, 64})); }), HasSubstr("images [B, 3, H, W], found 1 x 1 x 64 x 64"));
  EXPECT_THAT(error_of([&] { network.forward(at::zeros({1, 3, 64, 31})); }), HasSubstr("32 pixels or more, found 64 x 31"));
}

}  // namespace
}  // namespace dinoxx::golden
