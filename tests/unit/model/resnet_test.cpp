// Residual networks: names, initial values, modes and errors. Values: tests/golden/model/convnet_resnet_test.cpp.
#include "model/backbones/resnet.hpp"

#include <gmock/gmock.h>

#include "dinoxx/base/error.hpp"
#include "model/layers/row_origin.hpp"
#include "named_values.hpp"

namespace dinoxx::golden {
namespace {

using testing::HasSubstr;

ResNetConfig narrow(bool bottleneck = false) {
  ResNetConfig config;
  config.depths = {1, 1, 1, 2};
  config.width = 4;
  config.bottleneck = bottleneck;
  config.small_image_stem = true;
  return config;
}

int64_t count(const NamedTensors& tensors) {
  int64_t n = 0;
  for (const NamedTensor& t : tensors) n += t.tensor.numel();
  return n;
}

std::map<std::string, at::Tensor> by_name(const NamedTensors& tensors) {
  std::map<std::string, at::Tensor> map;
  for (const NamedTensor& t : tensors) EXPECT_TRUE(map.emplace(t.name, t.tensor).second) << t.name << " twice";
  return map;
}

TEST(ResNet, PublishedSizes) {
  // torchvision's counts without fc (512 or 2048 weights for each of 1000 classes, and 1000 biases)
  for (const auto& [arch, parameters, dim] :
       {std::tuple{"resnet18", 11'689'512 - 513'000, 512}, std::tuple{"resnet34", 21'797'672 - 513'000, 512},
        std::tuple{"resnet50", 25'557'032 - 2'049'000, 2048}}) {
    const ResNet network(resnet_config(arch), at::kFloat);
    EXPECT_EQ(count(network.parameters()), parameters) << arch;
    EXPECT_EQ(network.feature_dim(), dim) << arch;
  }
}

TEST(ResNet, NamesInOrderOfExecution) {
  const ResNet network(narrow(true), at::kFloat);
  std::vector<std::string> names;
  for (const NamedTensor& parameter : network.parameters()) names.push_back(parameter.name);
  names.resize(15);
  EXPECT_THAT(names, testing::ElementsAre("conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.0.bn1.weight",
                                          "layer1.0.bn1.bias", "layer1.0.conv2.weight", "layer1.0.bn2.weight", "layer1.0.bn2.bias",
                                          "layer1.0.conv3.weight", "layer1.0.bn3.weight", "layer1.0.bn3.bias",
                                          "layer1.0.downsample.0.weight", "layer1.0.downsample.1.weight", "layer1.0.downsample.1.bias"));
  EXPECT_TRUE(by_name(network.buffers()).contains("layer4.1.bn3.num_batches_tracked"));
}

TEST(ResNet, NothingIsForgottenAtInitialisation) {
  ResNet network(narrow(), at::kFloat);
  for (const NamedTensor& parameter : network.parameters()) EXPECT_TRUE(parameter.tensor.isnan().all().item<bool>()) << parameter.name;
  network.initialize(7);
  for (const NamedTensor& parameter : network.parameters()) EXPECT_FALSE(parameter.tensor.isnan().any().item<bool>()) << parameter.name;
}

TEST(ResNet, InitialValuesAreAFunctionOfTheSeed) {
  ResNet a(narrow(), at::kFloat), b(narrow(), at::kFloat), c(narrow(), at::kFloat);
  a.initialize(7);
  b.initialize(7);
  c.initialize(8);
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    const auto& [name, tensor] = a.parameters()[i];
    EXPECT_TRUE(at::equal(tensor, b.parameters()[i].tensor)) << name;
    EXPECT_EQ(at::equal(tensor, c.parameters()[i].tensor), tensor.dim() == 1) << name;
  }
}

TEST(ResNet, InitialVarianceIsThatOfFanOut) {
  ResNet network(resnet_config("resnet18"), at::kFloat);
  network.initialize(1);
  const auto parameters = by_name(network.parameters());
  const auto variance = [&](const char* name) { return parameters.at(name).var().item<double>(); };
  EXPECT_NEAR(variance("layer3.0.conv1.weight"), 2.0 / (256 * 9), 0.02 * 2.0 / (256 * 9));
  EXPECT_NEAR(variance("layer4.0.downsample.0.weight"), 2.0 / 512, 0.02 * 2.0 / 512);
  EXPECT_TRUE(at::equal(parameters.at("layer2.1.bn2.weight"), at::ones({128})));
  EXPECT_TRUE(at::equal(parameters.at("layer2.1.bn2.bias"), at::zeros({128})));
}

TEST(ResNet, ZeroInitialisedBranchesAddNothing) {
  for (const bool bottleneck : {false, true}) {
    ResNetConfig config = narrow(bottleneck);
    config.zero_init_last_norm = true;
    ResNet network(config, at::kDouble);
    network.initialize(3);
    const auto parameters = by_name(network.parameters());
    EXPECT_EQ(parameters.at(bottleneck ? "layer4.1.bn3.weight" : "layer4.1.bn2.weight").abs().max().item<double>(), 0.0);
    EXPECT_EQ(parameters.at("layer4.0.downsample.1.weight").min().item<double>(), 1.0);
    EXPECT_EQ(parameters.at("layer4.1.bn1.weight").min().item<double>(), 1.0);
    // stage 4's second block has no shortcut convolution: it is the identity, whatever its other weights
    const at::Tensor images = uniform("images", {2, 3, 16, 16});
    const at::Tensor before = network.forward(images);
    at::NoGradGuard no_grad;
    parameters.at("layer4.1.conv1.weight").fill_(5.0);
    EXPECT_TRUE(at::equal(network.forward(images), before));
  }
}

TEST(ResNet, TrainingNormalisesByTheBatchAndEvaluationDoesNot) {
  ResNet network(narrow(), at::kDouble);
  network.initialize(3);
  const RowOrigin training;
  const at::Tensor images = uniform("images", {4, 3, 16, 16}), first = images.narrow(0, 0, 1);
  EXPECT_TRUE(near("alone", network.forward(first), network.forward(images).narrow(0, 0, 1), 1e-13));
  EXPECT_FALSE(near("in a batch", network.forward(first, &training), network.forward(images, &training).narrow(0, 0, 1), 1e-3));

  const at::Tensor untrained = network.forward(images);
  network.discard_statistics();
  for (int i = 0; i < 200; ++i) network.forward(images, &training);
  EXPECT_TRUE(at::equal(network.forward(images), untrained)) << "before the commit";
  network.commit_statistics();
  // running statistics of one batch again and again are that batch's, up to the unbiased variance
  EXPECT_TRUE(near("after the commit", network.forward(images), network.forward(images, &training), 0.2));
  EXPECT_FALSE(near("after the commit", network.forward(images), untrained, 1e-3));
  EXPECT_EQ(by_name(network.buffers()).at("bn1.num_batches_tracked").item<int64_t>(), 200);
}

TEST(ResNet, AnyNumberOfChannels) {
  for (const int channels : {1, 4, 7}) {
    ResNetConfig config = narrow();
    config.channels = channels;
    ResNet network(config, at::kFloat);
    network.initialize(1);
    const ConvFeatures features = network.forward_features(uniform("images", {2, channels, 17, 24}).to(at::kFloat));
    EXPECT_EQ(features.cls.sizes(), (std::vector<int64_t>{2, 32}));
    EXPECT_EQ(features.patches.sizes(), (std::vector<int64_t>{2, 3 * 3, 32}));
    EXPECT_FALSE(features.patches.isnan().any().item<bool>());
  }
}

TEST(ResNet, Bfloat16IsNearFloat) {
  ResNet low(narrow(), at::kBFloat16), wide(narrow(), at::kFloat);
  low.initialize(1);
  wide.initialize(1);
  const RowOrigin training;
  const at::Tensor images = uniform("images", {8, 3, 16, 16});
  const at::Tensor features = low.forward(images, &training);
  EXPECT_EQ(features.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near("features", features, wide.forward(images, &training), 0.05));
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

TEST(ResNet, Errors) {
  EXPECT_THAT(error_of([] { resnet_config("resnet19"); }), HasSubstr("Did you mean resnet18?"));
  EXPECT_THROW(resnet_config("vgg"), UsageError);
  ResNetConfig config = narrow();
  config.depths[2] = 0;
  EXPECT_THROW(ResNet(config, at::kFloat), UsageError);
  EXPECT_THROW(ResNet(narrow(), at::kInt), UsageError);

  const ResNet network(narrow(), at::kFloat);
  EXPECT_THAT(error_of([&] { network.forward(at::zeros({1, 4, 16, 16})); }), HasSubstr("images [B, 3, H, W], found 1 x 4 x 16 x 16"));
  EXPECT_THAT(error_of([&] { network.forward(at::zeros({3, 16, 16})); }), HasSubstr("images [B, 3, H, W]"));
  EXPECT_THAT(error_of([&] { network.forward(at::zeros({1, 3, 16, 7})); }), HasSubstr("8 pixels or more, found 16 x 7"));
  config = narrow();
  config.small_image_stem = false;
  EXPECT_THAT(error_of([&] { ResNet(config, at::kFloat).forward(at::zeros({1, 3, 31, 64})); }), HasSubstr("or the stem for small images"));
}

}  // namespace
}  // namespace dinoxx::golden
