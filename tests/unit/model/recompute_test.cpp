// What is computed again in the backward pass, and weights that are there only while they are used: both change no bit of a gradient.
#include <c10/core/CPUAllocator.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <map>

#include "dinoxx/base/error.hpp"
#include "model/backbones/vit.hpp"
#include "ops/pool.hpp"
#include "small_vit.hpp"

namespace dinoxx {
namespace {

const std::vector<Recompute> kAll{{"attention", 1}, {"attention", 2}, {"attention", 3}, {"block", 1}, {"block", 2}, {"block", 3}};

std::string name_of(const Recompute& recompute) {
  return fmt::format("{} of every {}", recompute.part, recompute.every);
}

VitConfig network_of(const std::string& style, const std::string& drop_path_form) {
  VitConfig config = vit_config("vit_tiny", style == "swiglu" ? "dinov2" : style);
  config.image_size = 16, config.patch_size = 4, config.dim = 32, config.depth = 3, config.heads = 2;
  if (style == "swiglu") config.ffn = "swiglu";
  config.mask_token = false;
  config.drop_path = 0.4, config.drop_path_form = drop_path_form;
  if (style == "dinov3") config.rope.jitter = 1.4, config.rope.shift = 0.1;
  return config;
}

at::Tensor images(int64_t rows, int64_t size, at::ScalarType dtype) {
  return golden::uniform("images", {rows, 3, size, size}).to(dtype);
}

const std::vector<uint64_t> kPositions{10, 11, 12};
const RowOrigin kGlobal{7, kPositions, 0, 5}, kLocal{7, kPositions, 2, 5};

// CLS tokens, and of some all tokens: the last block in both forms, crops of one size and of two, more tokens than own kernels take.
at::Tensor output_of(const VisionTransformer& vit, at::ScalarType dtype) {
  const Crops large{images(6, 16, dtype), &kGlobal, {}, false}, small{images(9, 8, dtype), &kLocal, {}, true};
  std::vector<at::Tensor> all{vit.forward(large.images, &kGlobal).flatten(), vit.forward(images(3, 72, dtype), &kGlobal).flatten()};
  const std::vector<Crops> both{large, small};
  for (const std::span<const Crops> groups : {std::span(both).first(1), std::span(both)})
    for (const Features& f : vit.forward_packed(groups))
      for (const at::Tensor& t : {f.cls, f.patches, f.registers}) all.push_back(t.flatten());
  return at::cat(all);
}

class Recomputed : public testing::TestWithParam<std::tuple<const char*, const char*>> {};
INSTANTIATE_TEST_SUITE_P(, Recomputed,
                         testing::Combine(testing::Values("dino", "dinov2", "dinov2_reg", "dinov3", "swiglu"),
                                          testing::Values("mask", "subset")),
                         [](const auto& info) { return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param); });

TEST_P(Recomputed, ChangesNoBit) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    VitConfig config = network_of(std::get<0>(GetParam()), std::get<1>(GetParam()));
    const VisionTransformer kept = lively_vit(config, dtype);
    const at::Tensor output = output_of(kept, dtype);
    const auto expected = gradients_of(kept, output);
    for (const Recompute& recompute : kAll) {
      SCOPED_TRACE(fmt::format("{}, {}", name_of(recompute), c10::toString(dtype)));
      config.recompute = recompute;
      const VisionTransformer again = lively_vit(config, dtype);
      const at::Tensor found = output_of(again, dtype);
      EXPECT_TRUE(at::equal(output, found));
      const auto gradients = gradients_of(again, found);
      for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(at::equal(expected[i], gradients[i])) << kept.parameters()[i].name;
    }
  }
}

TEST(RecomputedPart, AnotherWordIsRefused) {
  VitConfig config = network_of("dino", "mask");
  config.recompute = {"blocks"};
  EXPECT_THROW(check_vit_config(config), UsageError);
  config.recompute = {"block", 0};
  EXPECT_THROW(check_vit_config(config), UsageError);
}

// ---------------------------------------------------------------- memory

// Bytes that tensors on the CPU hold.
class CountedMemory final : public c10::Allocator {
 public:
  CountedMemory() : before_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, /*priority=*/100); }
  ~CountedMemory() override { c10::SetCPUAllocator(before_, 100); }
  CountedMemory(const CountedMemory&) = delete;
  CountedMemory& operator=(const CountedMemory&) = delete;

  at::DataPtr allocate(size_t bytes) override {
    void* const memory = std::malloc(bytes);
    sizes[memory] = static_cast<int64_t>(bytes);
    held += static_cast<int64_t>(bytes);
    peak = std::max(peak, held);
    return {memory, memory, &give, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &give; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

  static inline int64_t held = 0, peak = 0;

 private:
  static void give(void* memory) {
    held -= sizes[memory];
    std::free(memory);
  }
  static inline std::map<void*, int64_t> sizes;
  c10::Allocator* before_;
};

struct Bytes {
  int64_t kept = 0, peak = 0;  // after forward; in the backward pass
};
Bytes bytes_of(VitConfig config, const Recompute& recompute) {
  config.recompute = recompute;
  const VisionTransformer vit = lively_vit(config, at::kDouble);
  const at::Tensor x = images(4, 48, at::kDouble);
  const CountedMemory counted;
  const int64_t before = CountedMemory::held;
  const at::Tensor sum = vit.forward_tokens(x).sum();
  Bytes bytes{.kept = CountedMemory::held - before};
  CountedMemory::peak = 0;
  sum.backward();
  bytes.peak = CountedMemory::peak - before;
  return bytes;
}

TEST(RecomputedMemory, IsWhatThePartsKeep) {
  VitConfig config = network_of("dinov2_reg", "mask");
  config.depth = 6, config.drop_path = 0;
  const int64_t rows = 4 * (144 + 5), tensor = rows * config.dim * 8;
  const Bytes none = bytes_of(config, {});
  for (const int every : {1, 2, 3, 4}) {
    SCOPED_TRACE(every);
    const int64_t blocks = (config.depth + every - 1) / every;
    const Bytes attention = bytes_of(config, {"attention", every}), block = bytes_of(config, {"block", every});
    // queries, keys, values and attention's output, with the logarithm of a sum for each head and row; the bias with LayerScale stays
    EXPECT_EQ(none.kept - attention.kept, blocks * (4 * tensor + rows * config.heads * 8 - config.dim * 8));
    // of a block the tokens that come in, its two norms with two numbers a row, both sums, the two matrices of the MLP and what folds
    // LayerScale into a layer; of these x stays
    const int64_t whole = none.kept - block.kept;
    EXPECT_EQ(whole % blocks, 0);
    EXPECT_GT(whole / blocks, 14 * tensor);
    EXPECT_LT(attention.peak, none.peak);
    EXPECT_LT(block.peak, attention.peak);
  }
  // one block whole, and the inputs of the others
  const Bytes block = bytes_of(config, {"block", 1});
  EXPECT_LT(block.kept, 9 * tensor);
  EXPECT_LT(block.peak, 40 * tensor);
  EXPECT_GT(none.peak, 90 * tensor);
}

// The fused kernels' own memory (ops/pool.hpp), of sizes that it hands out as they are.
TEST(RecomputedMemory, OfTheFusedBlock) {
  VitConfig config = network_of("dino", "mask");
  config.drop_path = 0, config.registers = 15, config.depth = 4;
  const int64_t tensor = 8 * 32 * config.dim * 4;
  const auto kept = [&](const Recompute& recompute) {
    config.recompute = recompute;
    const VisionTransformer vit = lively_vit(config, at::kFloat);
    at::Tensor output = vit.forward_tokens(images(8, 16, at::kFloat));
    const auto with_graph = static_cast<int64_t>(ops::pool_unused_bytes());
    output = at::Tensor();
    return static_cast<int64_t>(ops::pool_unused_bytes()) - with_graph;
  };
  const int64_t none = kept({});
  EXPECT_EQ(none - kept({"attention", 1}), 4 * 4 * tensor);
  EXPECT_EQ(none - kept({"attention", 2}), 2 * 4 * tensor);
  EXPECT_GT(none - kept({"block", 1}), 4 * 14 * tensor);
  EXPECT_EQ(2 * (none - kept({"block", 2})), none - kept({"block", 1}));
}

}  // namespace
}  // namespace dinoxx
