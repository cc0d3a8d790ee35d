// Initial values: NaN before, all there after, a function of the seed, distributed as the published code's.
#include "model/heads/dino_head.hpp"
#include "small_vit.hpp"

namespace dinoxx {
namespace {

at::Tensor parameter(const NamedTensors& parameters, const std::string& name) {
  for (const auto& p : parameters)
    if (p.name == name) return p.tensor;
  throw std::runtime_error("no parameter " + name);
}

TEST(Init, NanUntilInitialised) {
  for (const char* stem : {"patch", "conv"}) {
    VisionTransformer vit(small_vit(0.0, stem), at::kFloat);
    for (const auto& [name, tensor] : vit.parameters()) EXPECT_TRUE(tensor.isnan().all().item<bool>()) << name;
    vit.initialize(1);
    for (const auto& [name, tensor] : vit.parameters()) EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  }
  DinoHead head({}, at::kFloat);
  for (const auto& [name, tensor] : head.parameters()) EXPECT_TRUE(tensor.isnan().all().item<bool>()) << name;
}

TEST(Init, AFunctionOfSeedAndIndexAlone) {
  VisionTransformer one(small_vit(), at::kFloat), other(small_vit(), at::kFloat), reseeded(small_vit(), at::kFloat);
  one.initialize(5);
  at::empty({100}).normal_();  // another generator's state has no influence
  other.initialize(5);
  reseeded.initialize(6);
  for (size_t i = 0; i < one.parameters().size(); ++i)
    EXPECT_TRUE(at::equal(one.parameters()[i].tensor, other.parameters()[i].tensor)) << one.parameters()[i].name;
  EXPECT_FALSE(at::equal(parameter(one.parameters(), "pos_embed"), parameter(reseeded.parameters(), "pos_embed")));
  // equal shapes, different draws
  EXPECT_FALSE(at::equal(parameter(one.parameters(), "blocks.0.mlp.fc1.weight"), parameter(one.parameters(), "blocks.1.mlp.fc1.weight")));
}

TEST(Init, Distributions) {
  VitConfig config = small_vit();
  config.dim = 192;
  config.heads = 3;
  VisionTransformer vit(config, at::kDouble);
  vit.initialize(3);
  const auto moments = [&](const std::string& name, double std) {
    const at::Tensor t = parameter(vit.parameters(), name);
    const double n = static_cast<double>(t.numel());
    EXPECT_NEAR(t.mean().item<double>(), 0.0, 5 * std / std::sqrt(n)) << name;
    EXPECT_NEAR(t.std().item<double>(), std, 5 * std / std::sqrt(2 * n)) << name;
  };
  for (const char* name : {"pos_embed", "blocks.0.attn.qkv.weight", "blocks.2.mlp.fc2.weight"}) moments(name, 0.02);
  // not cut at two standard deviations: torch's bounds are absolute
  EXPECT_GT(parameter(vit.parameters(), "blocks.0.attn.qkv.weight").abs().max().item<double>(), 0.06);
  const double bound = 1.0 / std::sqrt(48.0);
  moments("patch_embed.proj.weight", bound / std::sqrt(3.0));
  EXPECT_LE(parameter(vit.parameters(), "patch_embed.proj.weight").abs().max().item<double>(), bound);
  EXPECT_GT(parameter(vit.parameters(), "patch_embed.proj.bias").abs().max().item<double>(), 0.5 * bound);
  EXPECT_EQ(parameter(vit.parameters(), "blocks.1.attn.qkv.bias").abs().max().item<double>(), 0.0);
  EXPECT_EQ(parameter(vit.parameters(), "norm.weight").sub(1).abs().max().item<double>(), 0.0);

  DinoHeadConfig head_config;
  head_config.in_dim = 64;
  head_config.hidden_dim = 96;
  head_config.bottleneck_dim = 100;
  head_config.out_dim = 500;
  DinoHead head(head_config, at::kDouble);
  head.initialize(3, 0);
  const at::Tensor v = parameter(head.parameters(), "last_layer.weight_v");
  EXPECT_LE(v.abs().max().item<double>(), 0.1);
  EXPECT_NEAR(v.std().item<double>(), 0.1 / std::sqrt(3.0), 0.001);
  EXPECT_TRUE(at::equal(parameter(head.parameters(), "last_layer.weight_g"), at::ones({500, 1}, at::kDouble)));
  EXPECT_EQ(parameter(head.parameters(), "mlp.4.weight").size(0), 100);
}

}  // namespace
}  // namespace dinoxx
