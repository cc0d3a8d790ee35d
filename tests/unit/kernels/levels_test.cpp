// One level for all kernels: which it is, that every family goes by it, and what the levels have in common.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "../data_loader/memory_dataset.hpp"
#include "base/crc32c.hpp"
#include "data_pipeline/augment/views.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "kernels/families.hpp"
#include "kernels/loss/dino_loss_kernel.hpp"
#include "kernels/optim/flat_kernels.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

std::string refusal(CpuLevel best, const char* wish) {
  try {
    choose_level(best, wish);
  } catch (const UsageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    return error.what();
  }
  return "";
}

TEST(CpuLevel, AnUnsetOrEmptyWishTakesTheProcessors) {
  for (const CpuLevel best : kCpuLevels) {
    EXPECT_EQ(choose_level(best, nullptr), best);
    EXPECT_EQ(choose_level(best, ""), best);
  }
}

TEST(CpuLevel, EveryLevelThatTheProcessorHasMayBeAskedFor) {
  for (const CpuLevel best : kCpuLevels)
    for (const CpuLevel wish : kCpuLevels) {
      if (wish <= best)
        EXPECT_EQ(choose_level(best, level_name(wish)), wish);
      else
        EXPECT_THAT(refusal(best, level_name(wish)), testing::AllOf(HasSubstr(std::string("at most ") + level_name(best)),
                                                                    HasSubstr(std::string("found ") + level_name(wish))));
    }
}

TEST(CpuLevel, AnUnknownWordIsRefusedWithTheListOfAll) {
  for (const char* wish : {"sse9", "AVX2", "avx", "avx512 ", "2"}) {
    const std::string text = refusal(CpuLevel::kAvx512Bf16, wish);
    EXPECT_THAT(text, HasSubstr("DINOXX_SIMD"));
    EXPECT_THAT(text, HasSubstr("generic, avx2, avx512, avx512vnni or avx512bf16"));
    EXPECT_THAT(text, HasSubstr(wish));
  }
}

TEST(CpuLevel, AboveTheProcessorsIsRefused) {
  const CpuLevel before = cpu_level();
  EXPECT_THROW(set_cpu_level(static_cast<CpuLevel>(static_cast<int>(best_cpu_level()) + 1)), Error);
  EXPECT_EQ(cpu_level(), before);
}

// The levels for which each family has kernels, by name; none: LibTorch's operators.
const std::map<std::string, std::vector<std::optional<CpuLevel>>> kOwn = {
    {"checksums", {CpuLevel::kGeneric, CpuLevel::kAvx2}},
    {"images", {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512Vnni}},
    {"optimizer", {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512}},
    {"losses", {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512}},
    {"network, float32", {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512}},
    {"network, bfloat16", {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Bf16}},
    {"matrix products, float32", {std::nullopt, CpuLevel::kAvx512}},
    {"matrix products, bfloat16", {std::nullopt, CpuLevel::kAvx512Bf16}},
};

void expect_every_family_at(CpuLevel level) {
  const std::vector<KernelFamily> families = kernel_families();
  EXPECT_EQ(families.size(), kOwn.size());
  for (const KernelFamily& family : families) {
    std::optional<CpuLevel> expected;
    for (const std::optional<CpuLevel> own : kOwn.at(std::string(family.name)))
      if (own && *own <= level) expected = own;
    EXPECT_EQ(family.level, expected) << family.name << " at " << level_name(level);
  }
}

// Started once for each level by CTest, with DINOXX_SIMD in the environment; by hand it may be absent.
TEST(KernelFamilies, GoByTheEnvironment) {
  const char* wish = std::getenv("DINOXX_SIMD");
  if (wish != nullptr && *wish != '\0')
    ASSERT_STREQ(level_name(cpu_level()), wish);
  else
    ASSERT_EQ(cpu_level(), best_cpu_level());
  expect_every_family_at(cpu_level());
}

// The rest goes through all levels of this processor, whatever the environment says.
class Levels : public testing::Test {
 protected:
  void TearDown() override { set_cpu_level(before_); }
  template <class F>
  void at_each_level(const F& f) {
    for (const CpuLevel level : kCpuLevels) {
      if (level > best_cpu_level()) break;
      SCOPED_TRACE(level_name(level));
      set_cpu_level(level);
      f(level);
    }
  }

 private:
  const CpuLevel before_ = cpu_level();
};

TEST_F(Levels, EveryFamilyTakesItsHighest) {
  at_each_level([](CpuLevel level) { expect_every_family_at(level); });
}

TEST_F(Levels, ChecksumsAreTheSame) {
  std::vector<uint8_t> bytes(1003);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i + 7);
  const uint32_t expected = crc32c(bytes.data(), bytes.size());
  at_each_level([&](CpuLevel) { EXPECT_EQ(crc32c(bytes.data(), bytes.size()), expected); });
}

TEST_F(Levels, ViewsAreTheSameBitForBit) {
  const Image image = testing_support::make_image(83, 61, 5);
  const ViewPlan plan = dino_v1_views({.global_size = 37, .local_size = 20, .local_count = 2});
  std::vector<std::vector<float>> first;
  at_each_level([&](CpuLevel) {
    std::vector<std::vector<float>> views;
    for (uint64_t position = 0; position < 6; ++position)
      for (uint32_t v = 0; v < plan.views.size(); ++v) {
        const auto size = static_cast<size_t>(plan.views[v].size);
        make_view(image, plan.views[v], plan.normalization.value(), 3, position, v, views.emplace_back(3 * size * size).data());
      }
    if (first.empty()) first = views;
    EXPECT_TRUE(views == first);
  });
}

TEST_F(Levels, OptimizerStepsAreTheSameBitForBit) {
  const auto numbers = [](double phase) { return (at::sin(at::arange(5003, at::kDouble) * 0.731 + phase) * 2.5).to(at::kFloat); };
  std::vector<at::Tensor> first;
  at_each_level([&](CpuLevel) {
    const at::Tensor p = numbers(0), g = numbers(1), m = numbers(2), v = numbers(3).square(), teacher = numbers(4);
    const optim_detail::FlatKernels& kernels = optim_detail::flat_kernels();
    kernels.adamw_f32(p.data_ptr<float>(), g.data_ptr<float>(), m.data_ptr<float>(), v.data_ptr<float>(), nullptr, p.numel(),
                      {0.999f, 0.1f, 0.999f, 0.001f, 0.0316f, 1e-8f, -0.01f});
    kernels.average_f32(teacher.data_ptr<float>(), p.data_ptr<float>(), nullptr, p.numel(), 0.99f, 0.01f);
    const at::Tensor squares = at::full({1}, kernels.squares_f32(p.data_ptr<float>(), p.numel()), at::kDouble);
    const std::vector<at::Tensor> all{p, m, v, teacher, squares};
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::equal(all[i], first[i])) << i;
  });
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// dino_loss() runs the kernel of the level in use, bit for bit; levels agree to rounding, and not better, so that the first comparison can
// fail.
TEST_F(Levels, LossesRunTheKernelOfTheLevel) {
  at::manual_seed(7);
  constexpr int64_t kDim = 203;
  const at::Tensor student = at::randn({4, 3, kDim}) * 3.0, teacher = at::randn({2, 3, kDim}) * 3.0, centre = at::randn({kDim});
  std::map<CpuLevel, at::Tensor> gradients;
  at_each_level([&](CpuLevel level) {
    const at::Tensor leaf = student.clone().set_requires_grad(true);
    dino_loss(leaf, teacher, centre, 0.1, 0.04).loss.backward();
    at::Tensor expected = at::empty_like(student);
    loss_kernel::DinoProblem p{student.const_data_ptr(), teacher.const_data_ptr(), centre.const_data_ptr<float>(), expected.data_ptr()};
    p.views = 4, p.teacher_views = 2, p.batch = 3, p.dim = kDim;
    std::vector<float> scratch(static_cast<size_t>(loss_kernel::dino_scratch_size(p)));
    std::vector<loss_kernel::ImageSums> sums(3);
    loss_kernel::dino_images({&p, 0, 3, scratch.data(), sums.data()}, level);
    EXPECT_TRUE(at::equal(leaf.grad(), expected));
    gradients[level] = leaf.grad();
  });
  const at::Tensor& generic = gradients[CpuLevel::kGeneric];
  for (const auto& [level, gradient] : gradients) {
    EXPECT_LT(largest_difference(gradient, generic), 1e-5 * generic.abs().max().item<double>()) << level_name(level);
    if (level != CpuLevel::kGeneric) {
      EXPECT_FALSE(at::equal(gradient, generic)) << level_name(level) << ": fused multiply-adds round otherwise";
    }
  }
}

TEST_F(Levels, NetworkOperationsAgreeToRounding) {
  at::manual_seed(9);
  const at::Tensor x = at::randn({5, 17, 3 * 48}), weight = at::randn({64, 3 * 48}), bias = at::randn({64});
  std::map<CpuLevel, std::vector<at::Tensor>> results;
  at_each_level([&](CpuLevel level) {
    results[level] = {ops::layer_norm(x, at::ones({3 * 48}), at::zeros({3 * 48}), 1e-6), ops::attention(x, 3), ops::gelu(x),
                      ops::linear(x, weight, bias)};
  });
  const std::vector<at::Tensor>& generic = results[CpuLevel::kGeneric];
  for (const auto& [level, tensors] : results) {
    bool equal = true;
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_LT(largest_difference(tensors[i], generic[i]), 1e-5 * generic[i].abs().max().item<double>()) << level_name(level) << ' ' << i;
      equal &= at::equal(tensors[i], generic[i]);
    }
    EXPECT_EQ(equal, level == CpuLevel::kGeneric) << level_name(level) << ": sums of other lanes round otherwise";
  }
}

}  // namespace
}  // namespace dinoxx
