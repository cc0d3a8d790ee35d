// The kernel that fills in a step's figures, compiled for the CPU (tests/support/cuda_on_cpu), against the CPU's own function: every bit.
#include "step/figures_kernels.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace dinoxx::step_detail {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

class FiguresKernel : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { cuda_on_cpu::backwards = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, FiguresKernel, testing::Bool());

// Of rank 2 of 3: [3 flags | 4 | 2 metrics | 3 terms]; the second term and the first metric are known to the host.
TEST_P(FiguresKernel, FillsInWhatIsOnTheDevice) {
  for (const double second : {0.1, kNan, kInfinity, -kInfinity}) {
    const double first = 1.0 / 3;
    const float third = 0.7F, metric = static_cast<float>(-second);
    FigureTable table;
    table.element[0] = {&metric, 0, 8};
    table.element[1] = {&first, 1, 9};
    table.element[2] = {&third, 0, 11};
    table.elements = 3;
    table.weight[0] = 1, table.weight[1] = 0.3, table.weight[2] = 1e-3;
    table.terms = 3;
    table.first_term = 9;
    table.flag = 2;
    table.loss = 3;
    std::vector<double> host(12, 0.0);
    host[7] = 5, host[10] = second;
    std::vector<double> device = host;
    fill_figures(table, host.data());
    ASSERT_EQ(launch_fill_figures(table, device.data(), nullptr), cudaSuccess);
    EXPECT_EQ(std::memcmp(host.data(), device.data(), host.size() * sizeof(double)), 0);
    const bool finite = std::isfinite(second);
    const double loss = 1.0 / 3 + 0.3 * second + 1e-3 * static_cast<double>(third);
    EXPECT_EQ(host[2], finite ? 0 : 1);
    EXPECT_EQ(host[3], finite ? loss : 0);
    EXPECT_EQ(host[0] + host[1] + host[4] + host[5] + host[6], 0);
    EXPECT_EQ(host[7], 5);
    EXPECT_EQ(host[9], first);
    EXPECT_EQ(host[11], static_cast<double>(third));
    if (finite) {
      EXPECT_EQ(host[8], static_cast<double>(metric));
    }
  }
}

}  // namespace
}  // namespace dinoxx::step_detail
