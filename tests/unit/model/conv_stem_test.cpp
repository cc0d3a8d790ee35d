// The convolutional stem: grid, formula, gradient.
#include "small_vit.hpp"

namespace dinoxx {
namespace {

using golden::near;

TEST(ConvStem, GridEqualsImageOverPatch) {
  for (const int patch : {2, 4, 8, 16}) {
    VitConfig config = small_vit(0.0, "conv");
    config.patch_size = patch;
    config.image_size = 32;
    VisionTransformer vit(config, at::kFloat);
    vit.initialize(1);
    at::NoGradGuard no_grad;
    const int64_t side = 32 / patch;
    EXPECT_EQ(vit.forward_tokens(at::zeros({2, 3, 32, 32})).sizes(), at::IntArrayRef({2, side * side + 1, 32})) << patch;
    EXPECT_EQ(vit.forward_tokens(at::zeros({2, 3, 16, 32})).sizes(), at::IntArrayRef({2, side * side / 2 + 1, 32})) << patch;
  }
}

TEST(ConvStem, IsConvolutionsNormsAndGelus) {
  VitConfig config = small_vit(0.0, "conv");
  const VisionTransformer vit = lively_vit(config, at::kDouble);
  std::map<std::string, at::Tensor> p;
  for (const auto& [name, tensor] : vit.parameters()) p[name] = tensor;
  ASSERT_EQ(p["patch_embed.stem.0.conv.weight"].sizes(), at::IntArrayRef({16, 3, 3, 3}));
  ASSERT_EQ(p["patch_embed.stem.1.conv.weight"].sizes(), at::IntArrayRef({32, 16, 3, 3}));
  const at::Tensor images = golden::uniform("images", {2, 3, 16, 16});
  at::Tensor x = images;
  for (int i = 0; i < 2; ++i) {
    const std::string s = fmt::format("patch_embed.stem.{}.", i);
    x = at::conv2d(x, p[s + "conv.weight"], {}, 2, 1);
    // normalised over channels at each place
    const at::Tensor mean = x.mean({1}, true), variance = (x - mean).pow(2).mean({1}, true);
    x = (x - mean) / (variance + 1e-6).sqrt() * p[s + "norm.weight"].view({1, -1, 1, 1}) + p[s + "norm.bias"].view({1, -1, 1, 1});
    x = at::gelu(x);
  }
  x = at::conv2d(x, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"]).flatten(2).transpose(1, 2);
  x = at::cat({p["cls_token"].expand({2, 1, 32}), x}, 1) + p["pos_embed"];
  for (int i = 0; i < 3; ++i) {
    const std::string b = fmt::format("blocks.{}.", i);
    const ops::BlockWeights w{p[b + "norm1.weight"],     p[b + "norm1.bias"],     p[b + "attn.qkv.weight"], p[b + "attn.qkv.bias"],
                              p[b + "attn.proj.weight"], p[b + "attn.proj.bias"], p[b + "norm2.weight"],    p[b + "norm2.bias"],
                              p[b + "mlp.fc1.weight"],   p[b + "mlp.fc1.bias"],   p[b + "mlp.fc2.weight"],  p[b + "mlp.fc2.bias"]};
    x = ops::transformer_block(x, w, 2, 1e-6, {}, {});
  }
  const at::Tensor expected = at::layer_norm(x, {32}, p["norm.weight"], p["norm.bias"], 1e-6).select(1, 0);
  const auto expected_gradients = gradients_of(vit, expected);
  const at::Tensor features = vit.forward(images);
  EXPECT_TRUE(near("features", features, expected, 1e-11));
  const auto gradients = gradients_of(vit, features);
  for (size_t i = 0; i < gradients.size(); ++i) EXPECT_TRUE(near(vit.parameters()[i].name, gradients[i], expected_gradients[i], 1e-10));
}

TEST(ConvStem, FloatFollowsDouble) {
  const VisionTransformer wide = lively_vit(small_vit(0.0, "conv"), at::kDouble), narrow = lively_vit(small_vit(0.0, "conv"), at::kFloat);
  const at::Tensor images = golden::uniform("images", {3, 3, 8, 8});
  const at::Tensor reference = wide.forward(images), features = narrow.forward(images.to(at::kFloat));
  EXPECT_TRUE(near("features", features, reference, 1e-5));
  const auto expected = gradients_of(wide, reference), gradients = gradients_of(narrow, features);
  for (size_t i = 0; i < gradients.size(); ++i) EXPECT_TRUE(near(wide.parameters()[i].name, gradients[i], expected[i], 1e-5));
}

}  // namespace
}  // namespace dinoxx
