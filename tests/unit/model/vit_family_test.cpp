// What the golden values of the family do not show: packed passes, recomputation, stochastic depth by subset, rotary augmentations, shapes.
#include <gmock/gmock.h>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "model/backbones/vit.hpp"
#include "small_vit.hpp"

namespace dinoxx {
namespace {

using golden::near;
using testing::HasSubstr;

VitConfig small_family(const std::string& style, double drop_path = 0.0) {
  VitConfig config = vit_config("vit_tiny", style);
  config.image_size = 16;
  config.patch_size = 4;
  config.dim = 32;
  config.depth = 3;
  config.heads = 2;
  config.drop_path = drop_path;
  config.mask_token = false;
  if (style == "dinov3") config.ffn = "swiglu";
  return config;
}

at::Tensor images(int64_t rows, int64_t size, at::ScalarType dtype = at::kDouble) {
  return golden::uniform("images", {rows, 3, size, size}).to(dtype);
}

at::Tensor sum_of(const std::vector<Features>& features) {
  at::Tensor sum = at::zeros({}, features[0].cls.options());
  for (const Features& f : features)
    for (const at::Tensor& t : {f.cls, f.patches, f.registers})
      if (t.numel() > 0) sum = sum + (t * golden::uniform("direction", t.sizes()).to(t.scalar_type())).sum();
  return sum;
}

class Family : public testing::TestWithParam<const char*> {};

TEST_P(Family, PackedCropsEqualSeparatePasses) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;
    const VisionTransformer vit = lively_vit(small_family(GetParam(), 0.4), dtype);
    const std::vector<uint64_t> positions{10, 11, 12};
    const RowOrigin global{7, positions, 0, 5}, local{7, positions, 2, 5};
    const std::vector<Crops> groups{{images(6, 16, dtype), &global, {}, false}, {images(9, 8, dtype), &local, {}, true}};
    const std::vector<Features> packed = vit.forward_packed(groups),
                                separate{vit.forward_features(groups[0]), vit.forward_features(groups[1])};
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(near("CLS", packed[i].cls, separate[i].cls, tolerance));
      EXPECT_TRUE(near("patches", packed[i].patches, separate[i].patches, tolerance));
      EXPECT_EQ(packed[i].registers.size(1), vit.config().registers);
    }
    const auto from_packed = gradients_of(vit, sum_of(packed)), from_separate = gradients_of(vit, sum_of(separate));
    for (size_t i = 0; i < from_packed.size(); ++i)
      EXPECT_TRUE(near(vit.parameters()[i].name, from_packed[i], from_separate[i], dtype == at::kDouble ? 1e-11 : 2e-5));
  }
}

TEST_P(Family, LastBlocksAndAttention) {
  const VisionTransformer vit = lively_vit(small_family(GetParam()), at::kDouble);
  const at::Tensor x = images(2, 24);
  const std::vector<Features> blocks = vit.last_blocks(x, 2);
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_TRUE(near("last block", blocks[1].patches, vit.forward_features({x, nullptr, {}, false}).patches, 1e-12));
  EXPECT_FALSE(near("the one before", blocks[0].patches, blocks[1].patches, 1e-3));
  const at::Tensor attention = vit.last_attention(x);
  const int64_t tokens = vit.config().prefix() + 36;
  EXPECT_EQ(attention.sizes(), (std::vector<int64_t>{2, 2, tokens, tokens}));
  EXPECT_TRUE(near("rows of probabilities", attention.sum(-1), at::ones({2, 2, tokens}, at::kDouble), 1e-12));
  EXPECT_THROW(vit.last_blocks(x, 4), UsageError);
}

INSTANTIATE_TEST_SUITE_P(Styles, Family, testing::Values("dino", "dinov2", "dinov2_reg", "dinov3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(DropPathSubset, KeepsTheSmallestDrawsOfEachGroup) {
  VitConfig config = small_family("dinov2", 0.5);
  config.depth = 1;
  config.drop_path_group = 2;
  const VisionTransformer vit = lively_vit(config, at::kDouble);
  const at::Tensor x = images(8, 8);  // two views of four slots
  const std::vector<uint64_t> all{10, 11, 12, 13};
  const RowOrigin origin{3, all, 0};
  const at::Tensor together = vit.forward_tokens(x, &origin), undropped = vit.forward_tokens(x);
  // slots 0, 1 and 2, 3 as on two ranks
  for (int64_t rank = 0; rank < 2; ++rank) {
    const RowOrigin half{3, std::span(all).subspan(static_cast<size_t>(2 * rank), 2), 0};
    const at::Tensor rows = at::tensor({2 * rank, 2 * rank + 1, 2 * rank + 4, 2 * rank + 5}, at::kLong);
    EXPECT_TRUE(near("half batch", vit.forward_tokens(x.index_select(0, rows), &half), together.index_select(0, rows), 1e-12));
  }
  // in every pair one attention branch runs, at twice its weight: the row with the smaller draw
  for (int64_t view = 0; view < 2; ++view) {
    for (int64_t pair = 0; pair < 2; ++pair) {
      const auto draw = [&](int64_t slot, uint32_t branch) {
        return CounterRng(3, all[static_cast<size_t>(slot)], static_cast<uint32_t>(view) * 256 + branch, Purpose::kDropPath).uniform();
      };
      const int64_t first = 2 * pair, second = first + 1;
      for (const int64_t slot : {first, second}) {
        const int64_t other = slot == first ? second : first;
        const bool nothing_runs = draw(slot, 0) > draw(other, 0) && draw(slot, 1) > draw(other, 1);
        const at::Tensor row = together[view * 4 + slot];
        const VisionTransformer& v = vit;
        // with both branches dropped only the final norm stands between embedding and output
        at::Tensor embedded;
        {
          VitConfig bare = config;
          bare.drop_path = 0;
          VisionTransformer copy(bare, at::kDouble);
          at::NoGradGuard no_grad;
          for (size_t i = 0; i < copy.parameters().size(); ++i) {
            copy.parameters()[i].tensor.copy_(v.parameters()[i].tensor);
            if (copy.parameters()[i].name.ends_with("gamma")) copy.parameters()[i].tensor.zero_();
          }
          embedded = copy.forward_tokens(x)[view * 4 + slot];
        }
        EXPECT_EQ(static_cast<bool>(near("row", row, embedded, 1e-12)), nothing_runs) << view << " " << slot;
      }
    }
  }
  EXPECT_FALSE(near("dropped", together, undropped, 1e-3));

  config.drop_path_group = 3;
  const VisionTransformer odd = lively_vit(config, at::kDouble);
  EXPECT_THROW(odd.forward_tokens(x, &origin), UsageError);
}

TEST(Rope, AugmentationsAreDrawnPerStepAndBlockInTrainingAlone) {
  VitConfig config = small_family("dinov3");
  config.rope.rescale = 2;
  config.rope.jitter = 1.5;
  config.rope.shift = 0.1;
  const VisionTransformer vit = lively_vit(config, at::kDouble);
  const at::Tensor x = images(2, 16);
  const std::vector<uint64_t> positions{4, 9};
  const RowOrigin first{1, positions, 0, 100}, same{1, positions, 0, 100}, next{1, positions, 0, 101};
  const at::Tensor a = vit.forward(x, &first);
  EXPECT_TRUE(at::equal(a, vit.forward(x, &same)));
  EXPECT_FALSE(near("the next step", vit.forward(x, &next), a, 1e-4));
  EXPECT_FALSE(near("evaluation", vit.forward(x), a, 1e-4));
  config.rope = {};
  EXPECT_TRUE(at::equal(lively_vit(config, at::kDouble).forward(x), vit.forward(x)));
}

TEST(Rope, RoundedPeriodsAndOtherCoordinatesDiffer) {
  VitConfig config = small_family("dinov3");
  const at::Tensor x = golden::uniform("images", {2, 3, 12, 20});
  const at::Tensor plain = lively_vit(config, at::kDouble).forward(x);
  config.rope.bf16_periods = true;
  EXPECT_FALSE(near("bfloat16 periods", lively_vit(config, at::kDouble).forward(x), plain, 1e-7));
  config = small_family("dinov3");
  config.rope.min_period = 1;
  config.rope.max_period = 100 / std::pow(100.0, 1.0 / 4);  // head width 16: four periods, the last of the base's own series
  EXPECT_TRUE(near("the same periods by their ends", lively_vit(config, at::kDouble).forward(x), plain, 1e-12));
  for (const char* coords : {"max", "min"}) {
    config = small_family("dinov3");
    config.rope.coords = coords;
    EXPECT_FALSE(near(coords, lively_vit(config, at::kDouble).forward(x), plain, 1e-4));
    const at::Tensor square = images(2, 16);
    EXPECT_TRUE(near(coords, lively_vit(config, at::kDouble).forward(square),
                     lively_vit(small_family("dinov3"), at::kDouble).forward(square), 1e-12));
  }
}

TEST(Fit, CropAndPadAreWhatTheySay) {
  VitConfig config = small_family("dinov2_reg");
  const at::Tensor x = golden::uniform("images", {2, 3, 18, 21});
  EXPECT_THROW(lively_vit(config, at::kDouble).forward(x), Error);
  config.fit = "crop";
  const VisionTransformer crop = lively_vit(config, at::kDouble);
  EXPECT_TRUE(at::equal(crop.forward(x), crop.forward(x.narrow(2, 0, 16).narrow(3, 0, 20))));
  config.fit = "pad";
  const VisionTransformer pad = lively_vit(config, at::kDouble);
  EXPECT_TRUE(at::equal(pad.forward(x), pad.forward(at::constant_pad_nd(x, {0, 3, 0, 2}))));
}

TEST(VitNames, SizesAndStyles) {
  const VitConfig huge = vit_config("vit_huge_plus", "dinov3"), giant = vit_config("vit_giant2", "dinov2"),
                  seven = vit_config("vit_7b", "dinov3");
  EXPECT_EQ(huge.hidden_dim(), 5120);
  EXPECT_EQ(giant.hidden_dim(), 4096);
  EXPECT_EQ(seven.hidden_dim(), 8192);
  EXPECT_FALSE(seven.qkv_bias);
  EXPECT_EQ(vit_config("vit_so400m", "dinov3").hidden_dim(), 4352);
  EXPECT_EQ(vit_config("vit_small_plus", "dinov3").hidden_dim(), 1536);
  for (const std::string& arch : vit_archs())
    for (const std::string& style : vit_styles()) EXPECT_NO_THROW(check_vit_config(vit_config(arch, style))) << arch << " " << style;
  const auto message = [](const std::string& arch, const std::string& style) {
    try {
      vit_config(arch, style);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message("vit_larg", "dino"), HasSubstr("vit_large?"));
  EXPECT_THAT(message("vit_large", "dinov4"), HasSubstr("dinov"));
  VitConfig config = small_family("dinov3");
  config.heads = 16;
  EXPECT_THROW(check_vit_config(config), UsageError);  // heads of 2 channels cannot hold two rotary axes
  const at::Tensor masked = at::ones({2, 16}, at::kBool);
  EXPECT_THROW(lively_vit(small_family("dinov2"), at::kFloat).forward_features({images(2, 16, at::kFloat), nullptr, masked, false}),
               UsageError);
}

}  // namespace
}  // namespace dinoxx
