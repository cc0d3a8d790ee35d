// Sinkhorn-Knopp as a centre: kernels on every instruction set, extreme logits, what is not finite, threads. Against the published loop:
// tests/golden/loss/losses_test.cpp.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/loss/centre.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "golden.hpp"
#include "kernels/loss/column_kernel.hpp"
#include "loss/prototypes/column_sums.hpp"
#include "ops/ops.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using golden::near;
using golden::uniform;

/// The published loop in logarithms and float64, which has no range to leave.
at::Tensor assignment(const at::Tensor& logits, double temp, int iterations) {
  at::Tensor log_q = logits.to(at::kDouble) / temp;
  for (int i = 0; i < iterations; ++i) {
    log_q = log_q - log_q.logsumexp({0}, true);
    log_q = log_q - log_q.logsumexp({1}, true);
  }
  return log_q.exp();
}

at::Tensor by_centre(const at::Tensor& logits, const at::Tensor& centre, double temp) {
  return at::softmax((logits.to(at::kDouble) - centre.to(at::kDouble)) / temp, -1);
}

TEST(Sinkhorn, KernelEqualsTheLoop) {
  const auto self = make_self_communicator();
  for (const int64_t dim : {1, 5, 16, 33, 1500}) {
    for (const int64_t rows : {1, 2, 16, 17, 70}) {
      SCOPED_TRACE(fmt::format("K {} M {}", dim, rows));
      const at::Tensor logits = uniform("logits", {rows, dim}).to(at::kFloat);
      const at::Tensor centre = sinkhorn_centre(logits, 0.06, 3, *self);
      EXPECT_EQ(centre.scalar_type(), at::kFloat);
      EXPECT_TRUE(near("assignment", by_centre(logits, centre, 0.06), assignment(logits, 0.06, 3), 1e-5));
    }
  }
}

TEST(Sinkhorn, BalancesPrototypes) {
  // many iterations: every prototype takes M / K of the samples, whatever the logits prefer
  const auto self = make_self_communicator();
  const at::Tensor logits = uniform("logits", {60, 12}).add_(uniform("bias", {12}) * 3.0);
  const at::Tensor mass = by_centre(logits, sinkhorn_centre(logits, 0.5, 200, *self), 0.5).sum(0);
  EXPECT_TRUE(near("mass", mass, at::full({12}, 5.0, at::kDouble), 1e-9));
}

TEST(Sinkhorn, Bfloat16) {
  const auto self = make_self_communicator();
  for (const int64_t dim : {32, 45}) {
    const at::Tensor logits = uniform("logits", {21, dim}).to(at::kBFloat16);
    const at::Tensor centre = sinkhorn_centre(logits, 0.05, 3, *self);
    EXPECT_EQ(centre.scalar_type(), at::kFloat);
    EXPECT_TRUE(near("assignment", by_centre(logits, centre, 0.05), assignment(logits, 0.05, 3), 1e-5));
  }
}

TEST(Sinkhorn, ExtremeLogits) {
  // logits / T reach 250,000: exp() of the published code is infinite there; numbers here are multiples of 1/16, so that float32 holds them
  const auto self = make_self_communicator();
  const at::Tensor logits = (uniform("logits", {9, 40}) * 160000.0).round() / 16.0;
  const at::Tensor expected = assignment(logits, 0.0625, 3);
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    const at::Tensor centre = sinkhorn_centre(logits.to(at::kFloat), 0.0625, 3, *self);
    EXPECT_TRUE(centre.isfinite().all().item<bool>());
    EXPECT_TRUE(near("assignment", by_centre(logits, centre, 0.0625), expected, 0.02)) << "a centre of 10^4 in float32 is exact to 5e-4";
  }
  ops::set_fused(true);
  EXPECT_TRUE(near("float64", by_centre(logits, sinkhorn_centre(logits, 0.0625, 3, *self), 0.0625), expected, 1e-9));
}

TEST(Sinkhorn, PrototypeThatNobodyWants) {
  // 3e4 below all others: its column sum in the published float32 loop is 0, and its mass 0 / 0
  const auto self = make_self_communicator();
  at::Tensor logits = uniform("logits", {8, 20});
  logits.select(1, 3).sub_(3e4);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor mass = by_centre(logits, sinkhorn_centre(logits.to(type), 0.05, 3, *self), 0.05).sum(0);
    EXPECT_NEAR(mass[3].item<double>(), assignment(logits, 0.05, 3).sum(0)[3].item<double>(), type == at::kFloat ? 0.02 : 1e-9);
  }
}

TEST(Sinkhorn, NotFiniteShows) {
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const int64_t place : {0, 17, 36}) {
        SCOPED_TRACE(fmt::format("{} {} at {}", fused, bad, place));
        // on one of two ranks: both must see it
        testing_support::run_thread_ranks(2, [&](const std::shared_ptr<Communicator>& comm) {
          at::Tensor logits = uniform("logits", {2 * 5, 37}).to(at::kFloat).narrow(0, comm->rank() * 5, 5).clone();
          if (comm->rank() == 1) logits[2][place] = bad;
          const at::Tensor centre = sinkhorn_centre(logits, 0.05, 3, *comm);
          EXPECT_FALSE(centre.isfinite().all().item<bool>());
          const at::Tensor teacher = logits.view({1, 5, 37});
          EXPECT_FALSE(std::isfinite(dino_loss(at::zeros({2, 5, 37}), teacher, centre, 0.1, 0.05).loss.item<float>()));
        });
      }
    }
    at::Tensor logits = uniform("logits", {10, 37}).to(at::kFloat);
    logits[2][5] = -std::numeric_limits<float>::infinity();  // a sample that excludes a prototype: a plain 0
    const at::Tensor centre = sinkhorn_centre(logits, 0.05, 3, *make_self_communicator());
    EXPECT_TRUE(near("assignment", by_centre(logits, centre, 0.05), assignment(logits, 0.05, 3), 1e-5));
  }
  ops::set_fused(true);
}

TEST(Sinkhorn, NoRows) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const at::Tensor centre = sinkhorn_centre(at::zeros({0, 7}, type), 0.05, 3, *make_self_communicator());
    EXPECT_TRUE(at::equal(centre, at::zeros({7}, centre.options())));
  }
}

TEST(Sinkhorn, SameBitsForAnyThreads) {
  const auto self = make_self_communicator();
  const at::Tensor logits = uniform("logits", {150, 2100}).to(at::kFloat);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = sinkhorn_centre(logits, 0.05, 3, *self);
  at::set_num_threads(3);
  const at::Tensor three = sinkhorn_centre(logits, 0.05, 3, *self);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one, three));
}

TEST(Sinkhorn, Refusals) {
  const auto self = make_self_communicator();
  EXPECT_THROW(sinkhorn_centre(at::zeros({2, 3, 4}), 0.05, 3, *self), Error);
  EXPECT_THROW(sinkhorn_centre(at::zeros({3, 4}), 0.0, 3, *self), Error);
  EXPECT_THROW(sinkhorn_centre(at::zeros({3, 4}), 0.05, 0, *self), Error);
}

TEST(ColumnKernels, OnEveryInstructionSet) {
  using namespace loss_kernel;
  for (const int64_t dim : {48, 67}) {
    const at::Tensor logits = (uniform("logits", {9, dim}) * 3.0).to(at::kFloat), centre = uniform("centre", {dim}).to(at::kFloat);
    const at::Tensor wide = logits.to(at::kDouble) / 0.25;
    for (const CpuLevel level : {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512}) {
      if (level > best_cpu_level()) continue;
      SCOPED_TRACE(fmt::format("level {} K {}", level_name(level), dim));
      std::vector<float> max(dim), sum(dim), sums(softmax_columns_size(dim), 0.0f), scratch(sums.size());
      std::vector<uint8_t> top(dim, 0);
      column_log_sum_exp({logits.const_data_ptr(), Storage::kFloat, 9, dim, 0, 32, 4.0f, max.data(), sum.data()}, level);
      column_log_sum_exp({logits.const_data_ptr(), Storage::kFloat, 9, dim, 32, dim, 4.0f, max.data(), sum.data()}, level);
      const at::Tensor result = at::tensor(max).to(at::kDouble) + at::tensor(sum).to(at::kDouble).log();
      EXPECT_TRUE(near("log-sum-exp", result, wide.logsumexp({0}), 1e-6));
      softmax_column_sums({logits.const_data_ptr(), Storage::kFloat, centre.const_data_ptr<float>(), dim, 0, 9, 4.0f, sums.data(),
                           scratch.data(), top.data()},
                          level);
      sums.resize(dim);
      const at::Tensor p = by_centre(logits, centre, 0.25);
      EXPECT_TRUE(near("sums", at::tensor(sums), p.sum(0), 1e-5));
      at::Tensor expected = at::zeros({dim}, at::kByte);
      expected.index_fill_(0, p.argmax(1), 1);
      EXPECT_TRUE(at::equal(at::tensor(at::ArrayRef<uint8_t>(top), at::kByte), expected));
    }
  }
}

TEST(CentreSums, EveryRowOrEveryGroupAlike) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const at::Tensor logits = uniform("logits", {5, 30}).to(type), exact = logits.to(at::kDouble);
    const CentreSum rows = centre_sum(logits);
    EXPECT_EQ(rows.rows, 5);
    EXPECT_TRUE(near("rows", rows.sum, exact.sum(0), 1e-6));
    // slots 0, 1 | 2, 3 (no row) | 4, 5
    const CentreSum groups = centre_sum_by_group(logits, at::tensor({0, 1, 1, 4, 5}, at::kLong), 2);
    EXPECT_EQ(groups.rows, 2);
    EXPECT_TRUE(near("groups", groups.sum, exact.narrow(0, 0, 3).mean(0) + exact.narrow(0, 3, 2).mean(0), 1e-6));
  }
  EXPECT_EQ(centre_sum(at::zeros({0, 4})).rows, 0);
  const CentreSum none = centre_sum_by_group(at::zeros({0, 4}), at::zeros({0}, at::kLong), 2);
  EXPECT_EQ(none.rows, 0);
  EXPECT_TRUE(at::equal(none.sum, at::zeros({4})));
  EXPECT_THROW(centre_sum_by_group(at::zeros({2, 4}), at::zeros({3}, at::kLong), 2), Error);
  EXPECT_THROW(centre_sum_by_group(at::zeros({2, 4}), at::zeros({2}), 2), Error);
  EXPECT_THROW(centre_sum_by_group(at::zeros({2, 4}), at::zeros({2}, at::kLong), 0), Error);
}

}  // namespace
}  // namespace dinoxx
