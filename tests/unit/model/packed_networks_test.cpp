// Whole networks on the GPU's form of their blocks, whose kernels are compiled for the CPU (tests/support/cuda_on_cpu).
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "coming_and_going.hpp"
#include "model/backbones/vit.hpp"
#include "small_vit.hpp"

namespace dinoxx {
namespace {

VitConfig network_of(const std::string& style) {
  VitConfig config = vit_config("vit_tiny", style == "swiglu" ? "dinov2" : style == "no_norm" ? "dinov2_reg" : style);
  config.image_size = 16, config.patch_size = 4, config.dim = 32, config.depth = 3, config.heads = 2;
  if (style == "swiglu") config.ffn = "swiglu";
  if (style == "no_norm") config.final_norm = false;
  config.drop_path = 0.4;
  if (style == "dinov3") config.rope.jitter = 1.4, config.rope.shift = 0.1;
  return config;
}

class Networks : public testing::TestWithParam<std::tuple<const char*, Recompute>> {};
INSTANTIATE_TEST_SUITE_P(, Networks,
                         testing::Combine(testing::Values("dino", "dinov2", "dinov2_reg", "dinov3", "swiglu", "no_norm"),
                                          testing::Values(Recompute{}, Recompute{"attention", 1}, Recompute{"attention", 2},
                                                          Recompute{"block", 1}, Recompute{"block", 2})),
                         [](const auto& info) {
                           const Recompute& recompute = std::get<1>(info.param);
                           return fmt::format("{}_{}{}", std::get<0>(info.param), recompute.part, recompute.every);
                         });

TEST_P(Networks, GiveWhatTheyGiveOnTheCpu) {
  VitConfig config = network_of(std::get<0>(GetParam()));
  config.recompute = std::get<1>(GetParam());
  const VisionTransformer vit = lively_vit(config, at::kFloat);
  const std::vector<uint64_t> positions{10, 11, 12, 13};
  const RowOrigin global{7, positions, 0, 5}, local{7, positions, 2, 5};
  const at::Tensor large = golden::uniform("large", {8, 3, 16, 16}).to(at::kFloat),
                   small = golden::uniform("small", {12, 3, 8, 8}).to(at::kFloat);
  const at::Tensor masked = config.mask_token ? golden::uniform("mask", {8, 16}) > 0.3 : at::Tensor();
  for (const bool training : {true, false}) {
    for (const bool patches : {true, false}) {
      const std::vector<Crops> groups{{large, training ? &global : nullptr, patches ? masked : at::Tensor(), false},
                                      {small, training ? &local : nullptr, {}, true}};
      std::vector<std::vector<at::Tensor>> found[2];
      for (const bool packed : {false, true}) {
        cuda_on_cpu::takes_tensors = packed;
        ASSERT_EQ(vit.packs(2), packed);
        const std::vector<Features> f = vit.forward_crops(groups, patches);
        at::Tensor all = at::cat({f[0].cls.flatten(), f[1].cls.flatten()});
        if (patches) all = at::cat({all, f[0].patches.flatten(), f[0].registers.flatten()});
        found[packed].push_back({all.detach()});
        found[packed].push_back(gradients_of(vit, all));
        found[packed].push_back({vit.forward(large, groups[0].origin).detach()});
      }
      cuda_on_cpu::takes_tensors = true;
      for (const size_t what : {0U, 2U}) {
        const at::Tensor &expected = found[0][what][0], &is = found[1][what][0];
        EXPECT_LE((is - expected).abs().max().item<double>(), 1e-5 * expected.abs().max().item<double>()) << what;
      }
      for (size_t i = 0; i < vit.parameters().size(); ++i) {
        const at::Tensor &expected = found[0][1][i], &is = found[1][1][i];
        ASSERT_EQ(is.defined(), expected.defined()) << vit.parameters()[i].name;
        if (!is.defined()) continue;
        EXPECT_LE((is - expected).abs().max().item<double>(), 3e-5 * expected.abs().max().item<double>() + 1e-6)
            << vit.parameters()[i].name;
      }
    }
  }
}

// What a step takes of crops of two sizes, with its gradients. Masks and stochastic depth, so that branches run for some samples.
std::vector<at::Tensor> step_of(const VisionTransformer& vit, at::ScalarType dtype, bool patches) {
  const std::vector<uint64_t> positions{10, 11, 12, 13};
  const RowOrigin global{7, positions, 0, 5}, local{7, positions, 2, 5};
  const at::Tensor large = golden::uniform("large", {8, 3, 16, 16}).to(dtype), small = golden::uniform("small", {12, 3, 8, 8}).to(dtype);
  const std::vector<Crops> groups{{large, &global, {}, false}, {small, &local, {}, true}};
  const std::vector<Features> f = vit.forward_crops(groups, patches);
  at::Tensor all = at::cat({f[0].cls.flatten(), f[1].cls.flatten()});
  if (patches) all = at::cat({all, f[0].patches.flatten(), f[0].registers.flatten()});
  std::vector<at::Tensor> found = gradients_of(vit, all);
  found.push_back(all.detach());
  return found;
}

void expect_same_bits(const VisionTransformer& vit, const std::vector<at::Tensor>& expected, const std::vector<at::Tensor>& found) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string name = i < vit.parameters().size() ? vit.parameters()[i].name : "features";
    ASSERT_EQ(expected[i].defined(), found[i].defined()) << name;
    if (expected[i].defined()) EXPECT_TRUE(at::equal(expected[i], found[i])) << name;
  }
}

// Attention that is computed again changes no bit; nor does a block, but where the norm in front of it ran with the block before.
TEST(PackedNetworks, RecomputationChangesNoBit) {
  for (const char* style : {"dino", "dinov2", "dinov2_reg", "dinov3", "swiglu"})
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
      for (const bool patches : {true, false}) {
        if (patches == (dtype == at::kBFloat16)) continue;  // one of the two for each type: a kernel's threads run one by one here
        VitConfig config = network_of(style);
        config.dim = 64, config.mask_token = false;
        const VisionTransformer kept = lively_vit(config, dtype);
        ASSERT_TRUE(kept.packs(2));
        const auto expected = step_of(kept, dtype, patches);
        for (const Recompute& recompute : {Recompute{"attention", 1}, Recompute{"attention", 2}}) {
          SCOPED_TRACE(fmt::format("{} {} {} {}", style, c10::toString(dtype), recompute.part, recompute.every));
          config.recompute = recompute;
          const VisionTransformer again = lively_vit(config, dtype);
          expect_same_bits(kept, expected, step_of(again, dtype, patches));
        }
      }
}

// Weights that go and come against such as stay, with the same nodes: norms that run by themselves.
TEST(PackedNetworks, WeightsThatGoAndComeChangeNoBit) {
  for (const char* style : {"dino", "dinov2", "dinov2_reg", "dinov3", "swiglu"})
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
      for (const Recompute& recompute : {Recompute{}, Recompute{"attention", 1}, Recompute{"block", 2}}) {
        SCOPED_TRACE(fmt::format("{} {} {} {}", style, c10::toString(dtype), recompute.part, recompute.every));
        VitConfig config = network_of(style);
        config.dim = 64, config.mask_token = false, config.recompute = recompute;
        VisionTransformer whole = lively_vit(config, dtype), sharing = lively_vit(config, dtype);
        whole.hold_blocks_by([](size_t, bool) { return nullptr; });
        ComingAndGoing memory(blocks_but_the_last(sharing));
        sharing.hold_blocks_by([&](size_t block, bool backward) { return memory.hold(block, backward); });
        const bool patches = (dtype == at::kFloat) == (recompute.part == "attention");
        expect_same_bits(whole, step_of(whole, dtype, patches), step_of(sharing, dtype, patches));
        EXPECT_EQ(memory.held_now(), 0);
        EXPECT_EQ(memory.most, 1);
        EXPECT_EQ(memory.calls.size(), 4u);  // two blocks, forward and backward
      }
}

}  // namespace
}  // namespace dinoxx
