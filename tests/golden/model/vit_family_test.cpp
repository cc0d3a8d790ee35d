// DINOv2, DINOv2 with registers and DINOv3 against transformers, at the learned size and at others.
#include "cases.hpp"

namespace dinoxx::golden {
namespace {

class GoldenFamily : public testing::TestWithParam<FamilyCase> {};

TEST_P(GoldenFamily, TokensMasksAndGradients) {
  const FamilyCase& c = GetParam();
  const Fixture fixture("vit_family");
  struct Size {
    const char* name;
    int64_t height, width;
  };
  for (const Precision& p : precisions()) {
    for (const Size& size : {Size{"native", 16, 16}, Size{"larger", 24, 24}, Size{"oblong", 12, 20}}) {
      SCOPED_TRACE(fmt::format("{} {} {}", c10::toString(p.dtype), p.fused ? "kernels" : "formulas", size.name));
      const double tolerance = p.dtype == at::kDouble ? 1e-10 : p.tolerance;
      const FusedScope scope(p.fused);
      VitConfig config = family_vit(c);
      config.position_offset = 0;  // transformers interpolates by exact sizes
      VisionTransformer vit(config, p.dtype);
      fill_family(vit.parameters());
      require_gradients(vit.parameters(), "mask_token");
      const at::Tensor images = uniform(std::string("images/") + size.name, {2, 3, size.height, size.width}).to(p.dtype);
      const std::string prefix = fmt::format("{}/{}", c.name, size.name);

      const at::Tensor tokens = vit.forward_tokens(images);
      EXPECT_TRUE(fixture.matches(prefix + "/tokens", tokens, tolerance));
      EXPECT_TRUE(near("CLS alone", vit.forward(images), tokens.select(1, 0), tolerance));
      if (std::string(size.name) == "oblong") {
        backward(tokens, prefix);
        expect_gradients(fixture, prefix, vit.parameters(), p.dtype == at::kDouble ? 1e-9 : p.tolerance);
      }
      at::NoGradGuard no_grad;
      const at::Tensor masked = uniform(std::string("masks/") + size.name, {2, size.height / 4 * (size.width / 4)}) > 0.3;
      const Features features = vit.forward_features({images, nullptr, masked, false});
      EXPECT_TRUE(fixture.matches(prefix + "/masked_tokens", at::cat({features.cls.unsqueeze(1), features.registers, features.patches}, 1),
                                  tolerance));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Styles, GoldenFamily,
                         testing::Values(FamilyCase{"dinov2", "dinov2", false}, FamilyCase{"dinov2_swiglu", "dinov2", true},
                                         FamilyCase{"dinov2_reg", "dinov2_reg", false}, FamilyCase{"dinov3", "dinov3", false},
                                         FamilyCase{"dinov3_swiglu", "dinov3", true}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dinoxx::golden
