// Own kernels on a real GPU against the CPU: the blocks of a ViT with their backward passes, and the pixels.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "golden.hpp"
#include "model/backbones/backbone.hpp"
#include "ops/pixels.hpp"

namespace dinoxx {
namespace {

const at::Device kGpu(at::kCUDA, 0);

VitConfig network_of(const std::string& style) {
  VitConfig config = vit_config("vit_tiny", style == "swiglu" ? "dinov2" : style);
  config.image_size = 32, config.patch_size = 4, config.dim = 192, config.depth = 4, config.heads = 3;
  if (style == "swiglu") config.ffn = "swiglu";
  config.drop_path = 0.4;
  if (style == "dinov3") config.rope.jitter = 1.4;
  return config;
}

struct Result {
  at::Tensor features;
  std::vector<at::Tensor> gradients;  // by parameter
};

Result run(const Backbone& network, at::Device device, at::ScalarType type) {
  move_to(network, device);
  const std::vector<uint64_t> positions{10, 11, 12, 13};
  const RowOrigin global{7, positions, 0, 5}, local{7, positions, 2, 5};
  const auto images = [&](const char* name, at::IntArrayRef sizes) { return golden::uniform(name, sizes).to(type).to(device); };
  const std::vector<Crops> groups{{images("large", {8, 3, 32, 32}), &global, {}, false},
                                  {images("small", {12, 3, 16, 16}), &local, {}, true}};
  const std::vector<Features> f = network.forward_crops(groups, true);
  const at::Tensor all = at::cat({f[0].cls.flatten(), f[1].cls.flatten(), f[0].patches.flatten()});
  (all * golden::uniform("direction", all.sizes()).to(type).to(device)).sum().backward();
  Result result{all.detach().to(at::kCPU, at::kDouble), {}};
  for (const auto& [name, tensor] : network.parameters()) {
    result.gradients.push_back(tensor.grad().defined() ? tensor.grad().to(at::kCPU, at::kDouble) : at::Tensor());
    tensor.mutable_grad() = at::Tensor();
  }
  return result;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).norm().item<double>() / (b.norm().item<double>() + 1e-12);
}

class GpuBlocks : public testing::TestWithParam<std::tuple<const char*, at::ScalarType>> {};
INSTANTIATE_TEST_SUITE_P(, GpuBlocks,
                         testing::Combine(testing::Values("dino", "dinov2", "dinov2_reg", "dinov3", "swiglu"),
                                          testing::Values(at::kFloat, at::kBFloat16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + (std::get<1>(info.param) == at::kFloat ? "_float32" : "_bfloat16");
                         });

// float32 without TF32: 1e-4 of the norm, for sums in another order. bfloat16: no further from the CPU in float32 than twice the CPU's own
// bfloat16 is, and 1 % for what that gets exact.
TEST_P(GpuBlocks, GiveWhatTheCpuGives) {
  const std::string style = std::get<0>(GetParam());
  const at::ScalarType type = std::get<1>(GetParam());
  at::globalContext().setAllowTF32CuBLAS(false);
  const auto made = [&](at::ScalarType of) {
    auto network = make_backbone(network_of(style), of);
    golden::fill_parameters(network->parameters());
    for (const auto& [name, tensor] : network->parameters()) tensor.set_requires_grad(true);
    return network;
  };
  const Result exact = run(*made(at::kFloat), at::kCPU, at::kFloat), cpu = run(*made(type), at::kCPU, type);
  const auto network = made(type);
  move_to(*network, kGpu);
  ASSERT_TRUE(network->packs(2));
  const Result gpu = run(*network, kGpu, type);
  const auto close = [&](const at::Tensor& found, const at::Tensor& of_cpu, const at::Tensor& wanted, const std::string& name) {
    const double limit = type == at::kFloat ? 1e-4 : 2 * distance(of_cpu, wanted) + 0.01;
    EXPECT_LE(distance(found, wanted), limit) << name;
  };
  close(gpu.features, cpu.features, exact.features, "features");
  for (size_t i = 0; i < exact.gradients.size(); ++i) {
    const std::string& name = network->parameters()[i].name;
    ASSERT_EQ(gpu.gradients[i].defined(), exact.gradients[i].defined()) << name;
    if (exact.gradients[i].defined()) close(gpu.gradients[i], cpu.gradients[i], exact.gradients[i], name);
  }
}

TEST(GpuPixels, HaveTheBitsOfTheCpu) {
  const std::array<float, 3> scale{0.017F, 0.0175F, 0.0174F}, shift{-2.1F, -2.0F, -1.8F};
  const at::Tensor bytes = at::randint(0, 256, {5, 3, 31, 31}, at::kByte).pin_memory();
  at::Tensor expected = bytes.to(at::kFloat);
  for (int64_t c = 0; c < 3; ++c) expected.select(1, c).mul_(scale[static_cast<size_t>(c)]).add_(shift[static_cast<size_t>(c)]);
  EXPECT_TRUE(at::equal(ops::PixelCopy(bytes, kGpu).normalized(scale, shift, at::kFloat).cpu(), expected));
  EXPECT_TRUE(at::equal(ops::PixelCopy(bytes, kGpu).normalized(scale, shift, at::kBFloat16).cpu(), expected.to(at::kBFloat16)));
}

}  // namespace
}  // namespace dinoxx
