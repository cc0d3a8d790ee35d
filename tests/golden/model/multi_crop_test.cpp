// Backbone and head together over crops of two sizes, against facebookresearch/dino's MultiCropWrapper.
#include "method/network.hpp"

#include "cases.hpp"

namespace dinoxx::golden {
namespace {

TEST(GoldenMultiCrop, LogitsAndGradients) {
  const Fixture fixture("model");
  for (const Precision& p : precisions()) {
    SCOPED_TRACE(fmt::format("{} {}", c10::toString(p.dtype), p.fused ? "kernels" : "formulas"));
    const FusedScope scope(p.fused);
    const Network network({tiny_vit(), {"head", tiny_head()}, {}, {}}, p.dtype);
    fill_parameters(network.parameters());
    require_gradients(network.parameters());
    const auto views = [&](std::vector<int> indices, int64_t size) {
      std::vector<at::Tensor> crops;
      for (const int v : indices) crops.push_back(uniform(fmt::format("multi_crop/view{}", v), {2, 3, size, size}));
      return at::cat(crops).to(p.dtype);
    };
    const std::vector<at::Tensor> crops{views({0, 1}, 16), views({2, 3, 4}, 8)};

    const at::Tensor logits = network.forward({.crops_by_size = crops, .batch = 2}).logits;
    EXPECT_TRUE(fixture.matches("multi_crop/logits", logits, p.tolerance));
    // the direction's product is over [V * B, K] there and [V, B, K] here: the same numbers in the same order
    backward(logits, "multi_crop");
    expect_gradients(fixture, "multi_crop", network.parameters(), p.tolerance);
  }
}

}  // namespace
}  // namespace dinoxx::golden
