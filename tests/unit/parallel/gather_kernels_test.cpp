// The kernel that writes gradients into the flat buffer, compiled for the CPU (tests/support/cuda_on_cpu): every bit, every place.
#include "parallel/gather_kernels.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace dinoxx::parallel_detail {
namespace {

class GatherKernel : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { cuda_on_cpu::backwards = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, GatherKernel, testing::Bool());

float widened(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, sizeof x);
  return x;
}

TEST_P(GatherKernel, WritesAndAddsRunsOfBothTypes) {
  std::mt19937 source(3);
  const auto number = [&] {
    const float special[] = {std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN(),
                             -0.0F,
                             1e-45F,
                             3e38F};
    return source() % 9 == 0 ? special[source() % std::size(special)] : std::normal_distribution<float>(0, 3)(source);
  };
  // more runs than two launches take; some of several blocks, some empty; odd runs begin where 16-byte loads are not possible
  std::vector<GatherRun> runs;
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<uint16_t>> halves;
  int64_t end = 64;
  for (int i = 0; i < 210; ++i) {
    const int64_t numel = i == 5 ? 40'003 : i == 6 ? 4096 : i % 50 == 20 ? 0 : 1 + static_cast<int64_t>(source() % 900);
    const int64_t shift = i % 3 == 0 ? 1 + i % 7 : 0;
    GatherRun run{nullptr, end + (i % 5 == 0 ? 3 : 0), numel, source() % 2 == 0, source() % 2 == 0};
    if (run.bf16) {
      auto& values = halves.emplace_back(static_cast<size_t>(numel + shift));
      for (uint16_t& v : values) v = static_cast<uint16_t>(source());
      run.from = values.data() + shift;
    } else {
      auto& values = floats.emplace_back(static_cast<size_t>(numel + shift));
      for (float& v : values) v = number();
      run.from = values.data() + shift;
    }
    runs.push_back(run);
    end += (numel + 3 + 63) / 64 * 64;
  }
  std::vector<float> flat(static_cast<size_t>(end));
  for (float& v : flat) v = number();
  std::vector<float> expected = flat;
  for (const GatherRun& run : runs)
    for (int64_t k = 0; k < run.numel; ++k) {
      const float value = run.bf16 ? widened(static_cast<const uint16_t*>(run.from)[k]) : static_cast<const float*>(run.from)[k];
      float& to = expected[static_cast<size_t>(run.offset + k)];
      to = run.add ? to + value : value;
    }
  ASSERT_EQ(launch_gather(runs.data(), static_cast<int>(runs.size()), flat.data(), nullptr), cudaSuccess);
  for (size_t i = 0; i < flat.size(); ++i)
    ASSERT_TRUE(std::bit_cast<uint32_t>(flat[i]) == std::bit_cast<uint32_t>(expected[i]) ||
                (flat[i] != flat[i] && expected[i] != expected[i]))
        << "element " << i << ": " << flat[i] << " and " << expected[i];
}

TEST(GatherKernels, NothingToDoIsNoError) {
  EXPECT_EQ(launch_gather(nullptr, 0, nullptr, nullptr), cudaSuccess);
  const GatherRun empty;
  EXPECT_EQ(launch_gather(&empty, 1, nullptr, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace dinoxx::parallel_detail
