// Weights that are there only while they are used: no bit of a gradient changes, and nothing stays held.
#include "model/layers/held_weights.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "coming_and_going.hpp"
#include "small_vit.hpp"

namespace dinoxx {
namespace {

// ---------------------------------------------------------------- one function

struct Given {
  at::Tensor x = golden::uniform("x", {3, 4}).requires_grad_(true), w = golden::uniform("w", {4, 4}).requires_grad_(true);
  ComingAndGoing memory{{{w}}};
  Hold hold = [this](bool backward) { return memory.hold(0, backward); };
};

TEST(WhileHeld, OneOutputOfTwoIsUsed) {
  Given given;
  const OfWeights f = [](const auto& in, const auto& w) { return std::vector<at::Tensor>{at::mm(in[0], w[0]), at::mm(in[0], w[0].t())}; };
  const auto out = while_held(f, {given.x}, {given.w}, given.hold);
  EXPECT_EQ(given.memory.held_now(), 0);
  EXPECT_TRUE(given.w.detach().isnan().all().item<bool>());
  out[1].sum().backward();
  EXPECT_EQ(given.memory.held_now(), 0);
  EXPECT_EQ(given.memory.calls, (std::vector<std::pair<size_t, bool>>{{0, false}, {0, true}}));
  const at::Tensor w = golden::uniform("w", {4, 4});
  EXPECT_TRUE(at::equal(given.x.grad(), at::mm(at::ones({3, 4}, at::kDouble), w)));
  EXPECT_TRUE(at::equal(given.w.grad(), at::mm(at::ones({4, 3}, at::kDouble), given.x.detach())));
}

TEST(WhileHeld, NoGradientNoSecondTime) {
  Given given;
  const OfWeights f = [](const auto& in, const auto& w) { return std::vector<at::Tensor>{at::mm(in[0], w[0])}; };
  while_held(f, {given.x}, {given.w}, given.hold);
  {
    at::NoGradGuard no_grad;
    EXPECT_FALSE(while_held(f, {given.x}, {given.w}, given.hold)[0].requires_grad());
  }
  EXPECT_FALSE(while_held(f, {given.x.detach()}, {given.w.detach()}, given.hold)[0].requires_grad());
  EXPECT_EQ(given.memory.held_now(), 0);
  EXPECT_EQ(given.memory.calls.size(), 3u);
}

TEST(WhileHeld, AGraphThatIsKeptTakesHoldAgain) {
  Given given;
  const OfWeights f = [](const auto& in, const auto& w) { return std::vector<at::Tensor>{at::mm(in[0], w[0]).square()}; };
  const at::Tensor sum = while_held(f, {given.x}, {given.w}, given.hold)[0].sum();
  sum.backward({}, /*retain_graph=*/true);
  const at::Tensor once = given.x.grad().clone();
  sum.backward();
  EXPECT_TRUE(at::equal(given.x.grad(), 2 * once));
  EXPECT_EQ(given.memory.held_now(), 0);
  EXPECT_EQ(given.memory.calls.size(), 3u);
}

TEST(WhileHeld, BackwardThatBreaksOffLetsGo) {
  Given given;
  const OfWeights f = [](const auto& in, const auto& w) {
    const at::Tensor y = at::mm(in[0], w[0]);
    y.register_hook([](const at::Tensor&) -> at::Tensor { throw std::runtime_error("stopped"); });
    return std::vector<at::Tensor>{at::mm(y, w[0])};
  };
  {
    const at::Tensor sum = while_held(f, {given.x}, {given.w}, given.hold)[0].sum();
    EXPECT_THROW(sum.backward(), std::runtime_error);
    EXPECT_EQ(given.memory.held_now(), 1) << "the graph is still there";
  }
  EXPECT_EQ(given.memory.held_now(), 0);
  // forward that breaks off
  const OfWeights broken = [](const auto&, const auto&) -> std::vector<at::Tensor> { throw std::runtime_error("stopped"); };
  EXPECT_THROW(while_held(broken, {given.x}, {given.w}, given.hold), std::runtime_error);
  EXPECT_EQ(given.memory.held_now(), 0);
}

// ---------------------------------------------------------------- networks

VitConfig network_of(const std::string& style) {
  VitConfig config = vit_config("vit_tiny", style == "swiglu" ? "dinov2" : style);
  config.image_size = 16, config.patch_size = 4, config.dim = 32, config.depth = 4, config.heads = 2;
  if (style == "swiglu") config.ffn = "swiglu";
  config.mask_token = false;
  config.drop_path = 0.4;
  if (style == "dinov3") config.rope.jitter = 1.4, config.rope.shift = 0.1;
  return config;
}

// Several passes of each block in one graph: crops of two sizes by themselves, then together.
at::Tensor output_of(const VisionTransformer& vit, at::ScalarType dtype) {
  const std::vector<uint64_t> positions{10, 11, 12};
  const RowOrigin global{7, positions, 0, 5}, local{7, positions, 2, 5};
  const at::Tensor large = golden::uniform("large", {6, 3, 16, 16}).to(dtype), small = golden::uniform("small", {9, 3, 8, 8}).to(dtype);
  const std::vector<Crops> both{{large, &global, {}, false}, {small, &local, {}, true}};
  std::vector<at::Tensor> all{vit.forward(large, &global).flatten(), vit.forward(small, &local).flatten()};
  for (const Features& f : vit.forward_packed(both)) all.push_back(f.patches.flatten());
  return at::cat(all);
}

class HeldNetworks : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, HeldNetworks, testing::Values("dino", "dinov2", "dinov2_reg", "dinov3", "swiglu"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(HeldNetworks, HaveTheSameBits) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16})
    for (const Recompute& recompute : {Recompute{}, Recompute{"attention", 1}, Recompute{"attention", 2}, Recompute{"block", 2}})
      for (const bool embeddings : {true, false}) {
        SCOPED_TRACE(fmt::format("{} {} of every {}, {}", c10::toString(dtype), recompute.part, recompute.every, embeddings));
        VitConfig config = network_of(GetParam());
        config.recompute = recompute;
        const VisionTransformer whole = lively_vit(config, dtype);
        VisionTransformer sharing = lively_vit(config, dtype);
        // without a gradient of the embeddings the first block's inputs have none; of the others some weights are frozen
        if (!embeddings)
          for (const VisionTransformer* vit : {&whole, &std::as_const(sharing)})
            for (const auto& [name, tensor] : vit->parameters())
              if (!name.starts_with("blocks.") || name.ends_with("1.attn.qkv.weight")) tensor.set_requires_grad(false);
        ComingAndGoing memory(blocks_but_the_last(sharing));
        sharing.hold_blocks_by([&](size_t block, bool backward) { return memory.hold(block, backward); });
        const at::Tensor expected = output_of(whole, dtype), found = output_of(sharing, dtype);
        EXPECT_TRUE(at::equal(expected, found));
        EXPECT_EQ(memory.held_now(), 0);
        const size_t forward = memory.calls.size();
        EXPECT_EQ(forward, 9u);  // three passes of three blocks
        const auto a = gradients_of(whole, expected), b = gradients_of(sharing, found);
        for (size_t i = 0; i < a.size(); ++i) {
          ASSERT_EQ(a[i].defined(), b[i].defined()) << whole.parameters()[i].name;
          if (a[i].defined()) EXPECT_TRUE(at::equal(a[i], b[i])) << whole.parameters()[i].name;
        }
        EXPECT_EQ(memory.held_now(), 0);
        EXPECT_EQ(memory.most, 1) << "one block at a time";
        ASSERT_EQ(memory.calls.size(), 2 * forward);
        // pass by pass from the last block to the first: the same order on all ranks
        for (size_t i = 0; i < forward; ++i) EXPECT_EQ(memory.calls[forward + i], (std::pair<size_t, bool>{2 - i % 3, true})) << i;
      }
}

}  // namespace
}  // namespace dinoxx
