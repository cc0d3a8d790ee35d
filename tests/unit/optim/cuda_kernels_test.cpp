// The CUDA kernels of the optimizer, compiled for the CPU (tests/support/cuda_on_cpu), against the CPU's own loops: every bit, whatever the
// numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "optim/cuda/adamw_kernels.hpp"

namespace dinoxx::optim_detail {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

// Mostly ordinary numbers; one in `rare` is a special one.
std::vector<float> numbers(std::mt19937& source, int64_t count, bool positive, int rare) {
  const float special[] = {0.0F, -0.0F, kInfinity, -kInfinity, kNan, 3e38F, -3e38F, 1e-38F, 1e-45F, 1e20F, -1e-20F};
  std::normal_distribution<float> ordinary(0, 2);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = source() % static_cast<unsigned>(rare) == 0 ? special[source() % std::size(special)] : ordinary(source);
    if (positive) value = std::fabs(value);
  }
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) == 0) continue;
    if constexpr (std::is_same_v<T, float>) {  // a NaN is a NaN: which one, the compiler decides by the order of operands
      if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    }
    ADD_FAILURE() << "element " << i << " of " << a.size() << ": " << a[i] << " and " << b[i];
    return false;
  }
  return true;
}

AdamWConstants<float> constants_of(int step, float rate) {
  return {.keep = 1 - rate * 0.04F,
          .one_minus_beta1 = 0.1F,
          .beta2 = 0.999F,
          .one_minus_beta2 = 0.001F,
          .sqrt_correction2 = static_cast<float>(std::sqrt(1 - std::pow(0.999, step))),
          .eps = 1e-8F,
          .minus_step_size = static_cast<float>(-rate / (1 - std::pow(0.9, step)))};
}

struct Buffers {
  Buffers(std::mt19937& source, int64_t count, int rare)
      : p(numbers(source, count, false, rare)),
        g(numbers(source, count, false, rare)),
        m(numbers(source, count, false, rare)),
        v(numbers(source, count, true, rare)),
        bf16(static_cast<size_t>(count), 7) {}
  std::vector<float> p, g, m, v;
  std::vector<uint16_t> bf16;
};

void expect_same(const Buffers& cpu, const Buffers& cuda) {
  EXPECT_TRUE(same_bits(cpu.p, cuda.p));
  EXPECT_TRUE(same_bits(cpu.m, cuda.m));
  EXPECT_TRUE(same_bits(cpu.v, cuda.v));
  EXPECT_TRUE(same_bits(cpu.bf16, cuda.bf16));
  EXPECT_TRUE(same_bits(cpu.g, cuda.g));
}

// With and without special numbers, with and without the bf16 copy, threads in both orders.
struct Case {
  int rare;
  bool with_bf16, backwards;
};
class CudaKernelsOnTheCpu : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { cuda_on_cpu::backwards = GetParam().backwards; }
};
INSTANTIATE_TEST_SUITE_P(, CudaKernelsOnTheCpu,
                         testing::Values(Case{1 << 30, true, false}, Case{3, true, false}, Case{3, true, true}, Case{20, false, true}));

TEST_P(CudaKernelsOnTheCpu, AdamWOverManyRunsOfOddSizes) {
  std::mt19937 source(11);
  std::vector<CudaRun> runs;
  int64_t end = 3;
  // more runs than three launches take; one is longer than all threads of a launch; gaps between them belong to nobody
  for (int i = 0; i < 200; ++i) {
    const int64_t size = i == 17 ? 100003 : i < 8 ? i + 1 : 1 + static_cast<int64_t>(source() % 700);
    runs.push_back({end, size, constants_of(1 + i % 5, 0.001F * static_cast<float>(1 + i % 7))});
    end += size + i % 3;
  }
  Buffers cpu(source, end + 5, GetParam().rare);
  Buffers cuda = cpu;
  for (int step = 0; step < 3; ++step) {
    for (const CudaRun& run : runs)
      flat_kernels().adamw_f32(cpu.p.data() + run.begin, cpu.g.data() + run.begin, cpu.m.data() + run.begin, cpu.v.data() + run.begin,
                               GetParam().with_bf16 ? cpu.bf16.data() + run.begin : nullptr, run.numel, run.constants);
    ASSERT_EQ(launch_adamw(runs.data(), static_cast<int>(runs.size()), cuda.p.data(), cuda.g.data(), cuda.m.data(), cuda.v.data(),
                           GetParam().with_bf16 ? cuda.bf16.data() : nullptr, nullptr),
              cudaSuccess);
  }
  expect_same(cpu, cuda);
}

TEST_P(CudaKernelsOnTheCpu, AverageOfOddSizes) {
  std::mt19937 source(12);
  for (const int64_t size : {1, 2, 255, 256, 257, 4099, 1100003}) {  // the last is longer than all threads of the launch
    Buffers cpu(source, size, GetParam().rare);
    Buffers cuda = cpu;
    for (const double momentum : {0.996, 0.0, 1.0}) {
      const auto keep = static_cast<float>(momentum), add = static_cast<float>(1 - momentum);
      flat_kernels().average_f32(cpu.p.data(), cpu.g.data(), GetParam().with_bf16 ? cpu.bf16.data() : nullptr, size, keep, add);
      ASSERT_EQ(launch_average(cuda.p.data(), cuda.g.data(), GetParam().with_bf16 ? cuda.bf16.data() : nullptr, size, keep, add, nullptr),
                cudaSuccess);
    }
    expect_same(cpu, cuda);
  }
}

TEST(CudaKernels, NothingToDoIsNoError) {
  EXPECT_EQ(launch_adamw(nullptr, 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), cudaSuccess);
  EXPECT_EQ(launch_average(nullptr, nullptr, nullptr, 0, 0.5F, 0.5F, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace dinoxx::optim_detail
