// Every loss term against its published formula: values and gradients, with one rank and with threads as ranks. Over MPI:
// tests/mpi/loss/losses_test.cpp.
#include <ATen/ATen.h>

#include "dinoxx/loss/byol_loss.hpp"
#include "dinoxx/loss/gram.hpp"
#include "dinoxx/model/ops.hpp"
#include "loss_suite.hpp"
#include "thread_ranks.hpp"

namespace dinoxx::golden {
namespace {

struct Precision {
  const char* name;
  at::ScalarType dtype;
  bool fused;
  double tolerance;
};
constexpr Precision kPrecisions[] = {
    {"Double", at::kDouble, true, 1e-9}, {"FloatKernel", at::kFloat, true, 1e-5}, {"FloatFormula", at::kFloat, false, 1e-5}};

class GoldenLosses : public testing::TestWithParam<Precision> {
 protected:
  void SetUp() override { ops::set_fused(GetParam().fused); }
  void TearDown() override { ops::set_fused(true); }
  const Fixture fixture{"losses"};

  at::Tensor leaf(const std::string& name, at::IntArrayRef shape) const {
    return uniform(name, shape).to(GetParam().dtype).set_requires_grad(true);
  }
  void check(const std::string& name, const at::Tensor& loss, const std::string& input, const at::Tensor& leaf) const {
    SCOPED_TRACE(name);
    loss.backward();
    EXPECT_TRUE(fixture.matches(name + "/loss", loss.reshape({1}), GetParam().tolerance));
    EXPECT_TRUE(fixture.matches(name + "/grad_" + input, leaf.grad(), GetParam().tolerance));
  }
};

TEST_P(GoldenLosses, OverThreadsAsRanks) {
  for (const int size : {1, 2, 3, 4}) {
    SCOPED_TRACE(fmt::format("{} ranks", size));
    testing_support::run_thread_ranks(
        size, [](const std::shared_ptr<Communicator>& comm) { check_losses_over_ranks(*comm, GetParam().dtype, GetParam().tolerance); });
  }
}

TEST_P(GoldenLosses, Gram) {
  const std::vector<int64_t> shape{4, 9, 5};
  const at::Tensor teacher = uniform("gram/teacher", shape).to(GetParam().dtype), mask = uniform("gram/mask", {4, 9}) < -0.1;
  for (const auto& [negatives, word] : {std::pair{GramNegatives::kKeep, "keep"}, std::pair{GramNegatives::kRemoveBoth, "both"},
                                        std::pair{GramNegatives::kRemoveTeacher, "teacher"}}) {
    const auto run = [&](const char* name, GramOptions options) {
      options.negatives = negatives;
      const at::Tensor student = leaf("gram/student", shape);
      check(fmt::format("{}_{}", name, word), gram_loss(student, teacher, options, mask), "student", student);
    };
    run("gram_image", {});
    run("gram_batch", {.group_size = 4});
    run("gram_pairs_masked", {.group_size = 2, .tokens = GramTokens::kMasked});
    run("gram_pairs_unmasked", {.group_size = 2, .tokens = GramTokens::kUnmasked});
  }
}

TEST_P(GoldenLosses, ReducedTokens) {
  const auto tokens = [&](const char* name, int64_t count) {
    return uniform(std::string(name) + "/tokens", {2, count, 3}).to(GetParam().dtype);
  };
  EXPECT_TRUE(fixture.matches("reduce/tokens", reduce_tokens(tokens("reduce", 35), 7, 5, 4, 3), GetParam().tolerance));
  EXPECT_TRUE(fixture.matches("reduce_half/tokens", reduce_tokens(tokens("reduce_half", 64), 8, 8, 4, 4), GetParam().tolerance));
}

TEST_P(GoldenLosses, Byol) {
  for (const auto& [name, views] : {std::pair{"byol", 2}, std::pair{"byol_crops", 4}}) {
    const at::Tensor prediction = leaf(std::string(name) + "/prediction", {views, 5, 6});
    const at::Tensor target = uniform(std::string(name) + "/target", {2, 5, 6}).to(GetParam().dtype);
    check(name, byol_loss(prediction, target), "prediction", prediction);
  }
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
