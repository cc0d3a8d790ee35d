// Every loss term against its published formula: values and gradients, with one rank and with threads as ranks. Over MPI:
// tests/mpi/loss/losses_test.cpp.
#include <ATen/ATen.h>

#include "dinoxx/loss/gram.hpp"
#include "loss_suite.hpp"
#include "ops/ops.hpp"
#include "thread_ranks.hpp"

namespace dinoxx::golden {
namespace {

struct Precision {
  const char* name;
  at::ScalarType dtype;
  bool fused;
  double tolerance;
  friend void PrintTo(const Precision& c, std::ostream* out) { *out << c.name; }
};
constexpr Precision kPrecisions[] = {
    {"Double", at::kDouble, true, 1e-9}, {"FloatKernel", at::kFloat, true, 1e-5}, {"FloatFormula", at::kFloat, false, 1e-5}};

class GoldenLosses : public testing::TestWithParam<Precision> {
 protected:
  void SetUp() override { ops::set_fused(GetParam().fused); }
  void TearDown() override { ops::set_fused(true); }
  const Fixture fixture{"losses"};
};

TEST_P(GoldenLosses, OverThreadsAsRanks) {
  for (const int size : {1, 2, 3, 4}) {
    SCOPED_TRACE(fmt::format("{} ranks", size));
    testing_support::run_thread_ranks(
        size, [](const std::shared_ptr<Communicator>& comm) { check_losses_over_ranks(*comm, GetParam().dtype, GetParam().tolerance); });
  }
}

TEST_P(GoldenLosses, ReducedTokens) {
  const auto tokens = [&](const char* name, int64_t count) {
    return uniform(std::string(name) + "/tokens", {2, count, 3}).to(GetParam().dtype);
  };
  EXPECT_TRUE(fixture.matches("reduce/tokens", reduce_tokens(tokens("reduce", 35), 7, 5, 4, 3), GetParam().tolerance));
  EXPECT_TRUE(fixture.matches("reduce_half/tokens", reduce_tokens(tokens("reduce_half", 64), 8, 8, 4, 4), GetParam().tolerance));
}

TEST_P(GoldenLosses, FeatureSpread) {
  for (const auto& [name, rows, dim] : {std::tuple{"spread_wide", 6, 10}, std::tuple{"spread_tall", 15, 4}}) {
    const FeatureSpread spread = feature_spread((uniform(std::string(name) + "/features", {rows, dim}) + 0.5).to(GetParam().dtype));
    EXPECT_TRUE(fixture.matches(name, at::tensor({spread.deviation, spread.effective_rank}, at::kDouble), GetParam().tolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, GoldenLosses, testing::ValuesIn(kPrecisions), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace dinoxx::golden
