// What the golden values do not show: stochastic depth, the shortcut for the CLS token, precisions, refusals.
#include "model/backbones/vit.hpp"

#include <gmock/gmock.h>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "small_vit.hpp"

namespace dinoxx {
namespace {

using golden::near;
using testing::HasSubstr;

at::Tensor images(int64_t rows, int64_t size = 16, at::ScalarType dtype = at::kDouble) {
  return golden::uniform("images", {rows, 3, size, size}).to(dtype);
}

TEST(Vit, ClsShortcutIsTheFullBlock) {
  const VisionTransformer vit = lively_vit(small_vit(0.3), at::kDouble);
  const std::vector<uint64_t> positions{40, 41, 42};
  const RowOrigin origin{7, positions, 0};
  const at::Tensor short_way = vit.forward(images(6), &origin);
  const auto short_gradients = gradients_of(vit, short_way);
  const at::Tensor full_way = vit.forward_tokens(images(6), &origin).select(1, 0);
  const auto full_gradients = gradients_of(vit, full_way);

  EXPECT_TRUE(near("features", short_way, full_way, 1e-12));
  for (size_t i = 0; i < short_gradients.size(); ++i)
    EXPECT_TRUE(near(vit.parameters()[i].name, short_gradients[i], full_gradients[i], 1e-11));
}

TEST(Vit, KernelsAndFormulasAgree) {
  VitConfig config = small_vit(0.2);
  config.dim = 96;
  config.heads = 3;
  const VisionTransformer vit = lively_vit(config, at::kFloat);
  const std::vector<uint64_t> positions{1, 2, 3, 4};
  const RowOrigin origin{7, positions, 0};
  for (const int64_t size : {16, 8, 32}) {
    ops::set_fused(true);
    const at::Tensor fused = vit.forward(images(8, size, at::kFloat), &origin);
    const auto fused_gradients = gradients_of(vit, fused);
    ops::set_fused(false);
    const at::Tensor formula = vit.forward(images(8, size, at::kFloat), &origin);
    const auto formula_gradients = gradients_of(vit, formula);
    ops::set_fused(true);
    EXPECT_TRUE(near("features", fused, formula, 1e-5)) << size;
    for (size_t i = 0; i < fused_gradients.size(); ++i)
      EXPECT_TRUE(near(vit.parameters()[i].name, fused_gradients[i], formula_gradients[i], 1e-5)) << size;
  }
}

TEST(Vit, Bfloat16FollowsFloat) {
  const VisionTransformer wide = lively_vit(small_vit(), at::kFloat), narrow = lively_vit(small_vit(), at::kBFloat16);
  const at::Tensor features = narrow.forward(images(4, 8, at::kFloat));
  EXPECT_EQ(features.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near("features", features, wide.forward(images(4, 8, at::kFloat)), 0.05));
  const auto gradients = gradients_of(narrow, features), reference = gradients_of(wide, wide.forward(images(4, 8, at::kFloat)));
  for (size_t i = 0; i < gradients.size(); ++i) EXPECT_TRUE(near(wide.parameters()[i].name, gradients[i], reference[i], 0.1));
}

// Stochastic depth.

TEST(VitDropPath, DropsByTheDocumentedDraws) {
  const VitConfig config = small_vit(0.6);
  const VisionTransformer vit = lively_vit(config, at::kDouble);
  const std::vector<uint64_t> positions{100, 7, 5000000000};
  const RowOrigin origin{99, positions, 2};
  const at::Tensor x = images(6);

  // blocks by hand, from the tokens that a network without blocks' influence would start with
  const auto scale = [&](int block, int branch) {
    const double rate = 0.6 * block / 2.0;
    at::Tensor s = at::ones({6}, at::kDouble);
    for (int64_t row = 0; row < 6; ++row) {
      const uint32_t view = 2 + static_cast<uint32_t>(row / 3);
      CounterRng rng(99, positions[static_cast<size_t>(row % 3)], view * 256 + static_cast<uint32_t>(2 * block + branch),
                     Purpose::kDropPath);
      s[row] = rng.uniform() < rate ? 0.0 : 1.0 / (1.0 - rate);
    }
    return s;
  };
  std::map<std::string, at::Tensor> p;
  for (const auto& [name, tensor] : vit.parameters()) p[name] = tensor;
  at::Tensor tokens = at::conv2d(x, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], 4).flatten(2).transpose(1, 2);
  tokens = at::cat({p["cls_token"].expand({6, 1, 32}), tokens}, 1) + p["pos_embed"];
  for (int i = 0; i < 3; ++i) {
    const std::string b = fmt::format("blocks.{}.", i);
    const ops::BlockWeights w{p[b + "norm1.weight"],     p[b + "norm1.bias"],     p[b + "attn.qkv.weight"], p[b + "attn.qkv.bias"],
                              p[b + "attn.proj.weight"], p[b + "attn.proj.bias"], p[b + "norm2.weight"],    p[b + "norm2.bias"],
                              p[b + "mlp.fc1.weight"],   p[b + "mlp.fc1.bias"],   p[b + "mlp.fc2.weight"],  p[b + "mlp.fc2.bias"]};
    tokens = ops::transformer_block(tokens, w, 2, 1e-6, scale(i, 0), scale(i, 1));
  }
  const at::Tensor expected = at::layer_norm(tokens, {32}, p["norm.weight"], p["norm.bias"], 1e-6);
  EXPECT_TRUE(near("tokens", vit.forward_tokens(x, &origin), expected, 1e-12));
  EXPECT_FALSE(near("tokens without dropping", vit.forward_tokens(x), expected, 1e-3));
}

TEST(VitDropPath, AFunctionOfThePositionNotOfTheBatch) {
  const VisionTransformer vit = lively_vit(small_vit(0.5), at::kDouble);
  const at::Tensor x = images(8);  // two views of four slots
  const std::vector<uint64_t> all{10, 11, 12, 13};
  const RowOrigin origin{3, all, 0};
  const at::Tensor together = vit.forward(x, &origin);
  // what two ranks would compute: slots 0, 1 and 2, 3
  for (int64_t rank = 0; rank < 2; ++rank) {
    const RowOrigin half{3, std::span(all).subspan(static_cast<size_t>(2 * rank), 2), 0};
    const at::Tensor rows = at::tensor({2 * rank, 2 * rank + 1, 2 * rank + 4, 2 * rank + 5}, at::kLong);
    EXPECT_TRUE(near("half batch", vit.forward(x.index_select(0, rows), &half), together.index_select(0, rows), 1e-12));
  }
}

TEST(VitDropPath, MeanOverManySamplesIsTheNetworkWithoutDropping) {
  // the expectation of a dropped branch is the branch: with one block behind the first, the mean over draws nears the undropped tokens
  VitConfig config = small_vit(0.4);
  config.depth = 2;
  const VisionTransformer vit = lively_vit(config, at::kDouble);
  at::NoGradGuard no_grad;
  const int64_t draws = 2000;
  std::vector<uint64_t> positions(static_cast<size_t>(draws));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = i;
  const RowOrigin origin{5, positions, 0};
  const at::Tensor one = images(1, 8);
  const at::Tensor same = one.expand({draws, 3, 8, 8});
  const at::Tensor dropped = vit.forward_tokens(same, &origin).select(1, 0);
  // with rate 0.4 on two branches four outcomes appear, at 0.36, 0.24, 0.24 and 0.16
  const at::Tensor first = dropped.select(1, 0).contiguous();
  std::map<int64_t, int> outcomes;
  for (int64_t i = 0; i < draws; ++i) ++outcomes[std::llround(first[i].item<double>() * 1e9)];
  std::vector<int> counts;
  for (const auto& [value, count] : outcomes) counts.push_back(count);
  std::sort(counts.begin(), counts.end());
  ASSERT_EQ(counts.size(), 4u);
  EXPECT_NEAR(counts[0], 320, 70);
  EXPECT_NEAR(counts[1] + counts[2], 960, 100);
  EXPECT_NEAR(counts[3], 720, 90);
}

// Refusals.

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(VitErrors, NameWhatIsWrong) {
  const VisionTransformer vit = lively_vit(small_vit(), at::kFloat);
  EXPECT_THAT(message_of([&] { vit.forward(at::zeros({1, 3, 18, 16})); }), testing::AllOf(HasSubstr("patch size 4"), HasSubstr("18 x 16")));
  EXPECT_THAT(message_of([&] { vit.forward(at::zeros({1, 1, 16, 16})); }), HasSubstr("[B, 3, H, W]"));
  EXPECT_THAT(message_of([&] { vit.forward(at::zeros({1, 3, 0, 16})); }), HasSubstr("0 x 16"));
  const std::vector<uint64_t> positions{1, 2, 3};
  const RowOrigin origin{1, positions, 0};
  const VisionTransformer dropping = lively_vit(small_vit(0.1), at::kFloat);
  EXPECT_THAT(message_of([&] { dropping.forward(at::zeros({4, 3, 16, 16}), &origin); }), HasSubstr("4 rows"));

  const auto refuse = [](const std::function<void(VitConfig&)>& change) {
    VitConfig config = small_vit();
    change(config);
    return message_of([&] { VisionTransformer(config, at::kFloat); });
  };
  EXPECT_THAT(refuse([](VitConfig& c) { c.heads = 3; }), HasSubstr("32 with 3 heads"));
  EXPECT_THAT(refuse([](VitConfig& c) { c.image_size = 17; }), HasSubstr("image 17, patch 4"));
  EXPECT_THAT(refuse([](VitConfig& c) { c.drop_path = 1.0; }), HasSubstr("[0, 1)"));
  EXPECT_THAT(refuse([](VitConfig& c) { c.stem = "cnn"; }), HasSubstr("\"cnn\""));
  EXPECT_THAT(refuse([](VitConfig& c) { c.stem = "conv", c.patch_size = c.image_size = 6; }), HasSubstr("2, 4, 8 or 16"));
  EXPECT_THAT(refuse([](VitConfig& c) { c.stem = "conv", c.dim = 36, c.patch_size = c.image_size = 16; }), HasSubstr("halved"));
  EXPECT_THAT(message_of([] { VisionTransformer(small_vit(), at::kHalf); }), HasSubstr("bfloat16"));
  EXPECT_THAT(message_of([] { vit_config("vit_smal"); }), HasSubstr("vit_small"));
  EXPECT_EQ(vit_config("vit_tiny").dim, 192);
  EXPECT_EQ(vit_config("vit_base").heads, 12);
}

}  // namespace
}  // namespace dinoxx
