// The patch loss and the local weight of the DINO loss: kernel beside formula, no rows, what is not finite. Against the published formulas:
// tests/golden/loss/losses_test.cpp.
#include "dinoxx/loss/patch_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>

#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "golden.hpp"
#include "kernels/loss/dino_loss_kernel.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

using golden::near;
using golden::uniform;

struct Rows {
  explicit Rows(int64_t rows, int64_t dim, at::ScalarType type, double size = 1.0)
      : student((uniform("student", {rows, dim}) * size).to(type).set_requires_grad(true)),
        teacher((uniform("teacher", {rows, dim}) * size).to(type)),
        centre((uniform("centre", {dim}) * 0.2).to(type == at::kDouble ? at::kDouble : at::kFloat)),
        weight(uniform("weight", {rows}).add_(1.5).to(centre.scalar_type())) {}
  /// The same rounded numbers in float64.
  Rows exact() const {
    Rows copy = *this;
    for (at::Tensor* t : {&copy.student, &copy.teacher, &copy.centre, &copy.weight}) *t = t->detach().to(at::kDouble);
    copy.student.set_requires_grad(true);
    return copy;
  }
  PatchLossResult loss() const { return patch_loss(student, teacher, centre, weight, 0.1, 0.05, 7.0); }
  at::Tensor student, teacher, centre, weight;
};

void expect_equal(const Rows& rows, double gradient_tolerance) {
  const Rows exact = rows.exact();
  const PatchLossResult a = rows.loss(), e = exact.loss();
  a.loss.backward();
  e.loss.backward();
  EXPECT_NEAR(a.loss.item<double>(), e.loss.item<double>(), 1e-5 * std::max(1.0, e.loss.item<double>()));
  EXPECT_EQ(a.value, a.loss.item<double>());
  EXPECT_EQ(e.value, e.loss.item<double>());
  EXPECT_LE((rows.student.grad().to(at::kDouble) - exact.student.grad()).abs().max().item<double>(),
            gradient_tolerance * 2.5 / (0.1 * 7.0));
  EXPECT_NEAR(a.teacher_entropy, e.teacher_entropy, 1e-5 * std::max(1.0, e.teacher_entropy));
  EXPECT_NEAR(a.student_entropy, e.student_entropy, 1e-5 * std::max(1.0, e.student_entropy));
  EXPECT_NEAR(a.kl, e.kl, 1e-5 * std::max(1.0, e.kl));
}

TEST(PatchLoss, KernelEqualsFormula) {
  for (const int64_t dim : {1, 5, 16, 31, 1000})
    for (const double size : {1.0, 15.0}) {
      SCOPED_TRACE(fmt::format("K {} size {}", dim, size));
      expect_equal(Rows(6, dim, at::kFloat, size), 1e-5);
    }
}

TEST(PatchLoss, Bfloat16) {
  const Rows rows(6, 75, at::kBFloat16);
  expect_equal(rows, 1.0 / 256);
  EXPECT_EQ(rows.loss().loss.scalar_type(), at::kFloat);
  EXPECT_EQ(rows.student.grad().scalar_type(), at::kBFloat16);
}

TEST(PatchLoss, NoRowsAreStillConnected) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const at::Tensor tokens = at::ones({4, 20}, type).set_requires_grad(true), none = tokens.narrow(0, 0, 0);
    const auto wide = type == at::kDouble ? at::kDouble : at::kFloat;
    const PatchLossResult r = patch_loss(none, none.detach(), at::zeros({20}, wide), at::zeros({0}, wide), 0.1, 0.05, 3.0);
    EXPECT_EQ(r.loss.item<double>(), 0.0);
    EXPECT_EQ(r.value, 0.0);
    EXPECT_EQ(r.teacher_entropy, 0.0);
    EXPECT_EQ(r.kl, 0.0);
    r.loss.backward();
    ASSERT_TRUE(tokens.grad().defined());
    EXPECT_EQ(tokens.grad().abs().max().item<double>(), 0.0);
  }
}

TEST(PatchLoss, SameBitsForAnyThreads) {
  const Rows a(37, 200, at::kFloat), b(37, 200, at::kFloat);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const PatchLossResult one = a.loss();
  at::set_num_threads(3);
  const PatchLossResult three = b.loss();
  at::set_num_threads(before);
  (one.loss * 2.0).backward();
  (three.loss * 2.0).backward();
  EXPECT_EQ(one.loss.item<float>(), three.loss.item<float>());
  EXPECT_EQ(one.student_entropy, three.student_entropy);
  EXPECT_TRUE(at::equal(a.student.grad(), b.student.grad()));
}

TEST(PatchLoss, ExtremeLogits) {
  // 1e4: the softmaxes are steps; multiples of 1/16 and temperatures that are powers of two, so that float32 makes no error before exp()
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    Rows rows(5, 40, at::kFloat);
    for (at::Tensor* t : {&rows.student, &rows.teacher}) *t = ((t->detach() * 160000.0).round() / 16.0);
    rows.student.set_requires_grad(true);
    rows.centre.zero_();
    const Rows exact = rows.exact();
    const auto run = [](const Rows& r) { return patch_loss(r.student, r.teacher, r.centre, r.weight, 0.125, 0.0625, 7.0).loss; };
    const at::Tensor a = run(rows), e = run(exact);
    a.backward();
    e.backward();
    EXPECT_TRUE(near("loss", a, e, 1e-5));
    EXPECT_TRUE(near("gradient", rows.student.grad(), exact.student.grad(), 1e-5));
  }
  ops::set_fused(true);
}

TEST(PatchLoss, NotFiniteShows) {
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
      for (const int64_t place : {0, 17, 39}) {
        Rows a(3, 40, at::kFloat), b(3, 40, at::kFloat), c(3, 40, at::kFloat);
        a.student.detach()[1][place] = bad;
        b.teacher[2][place] = bad;
        c.centre[place] = std::numeric_limits<float>::quiet_NaN();
        EXPECT_FALSE(std::isfinite(a.loss().loss.item<float>())) << "student " << bad << " at " << place;
        EXPECT_FALSE(std::isfinite(b.loss().loss.item<float>())) << "teacher " << bad << " at " << place;
        EXPECT_FALSE(std::isfinite(c.loss().loss.item<float>())) << "centre at " << place;
        b.weight.zero_();  // a weight of 0 must not hide it
        EXPECT_FALSE(std::isfinite(b.loss().loss.item<float>()));
      }
    Rows d(3, 40, at::kFloat);
    d.weight[1] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_FALSE(std::isfinite(d.loss().loss.item<float>()));
  }
  ops::set_fused(true);
}

TEST(PatchLoss, OnEveryInstructionSet) {
  using namespace loss_kernel;
  for (const int64_t dim : {48, 67}) {
    const Rows rows(4, dim, at::kFloat, 3.0), exact = rows.exact();
    const PatchLossResult expected = exact.loss();
    expected.loss.backward();
    for (const CpuLevel level : {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512}) {
      if (level > best_cpu_level()) continue;
      SCOPED_TRACE(fmt::format("level {} K {}", level_name(level), dim));
      at::Tensor grad = at::full_like(rows.student.detach(), std::numeric_limits<float>::quiet_NaN());
      PatchProblem p;
      p.student = rows.student.const_data_ptr();
      p.teacher = rows.teacher.const_data_ptr();
      p.centre = rows.centre.const_data_ptr<float>();
      p.row_weight = rows.weight.const_data_ptr<float>();
      p.student_grad = grad.mutable_data_ptr();
      p.dim = dim, p.student_temp = 0.1, p.teacher_temp = 0.05, p.divisor = 7.0;
      std::vector<float> scratch(static_cast<size_t>(patch_scratch_size(p)));
      std::vector<PatchSums> sums(4);
      patch_rows({&p, 0, 4, scratch.data(), sums.data()}, level);
      double entropy = 0;
      for (const PatchSums& s : sums) entropy += s.student_entropy / 4;
      EXPECT_NEAR(entropy, expected.student_entropy, 1e-5);
      EXPECT_TRUE(near("gradient", grad, exact.student.grad(), 1e-5));
    }
  }
}

TEST(PatchLoss, Refusals) {
  const auto call = [](int64_t m, int64_t weights, int64_t k, double temp, double divisor) {
    patch_loss(at::zeros({m, 8}), at::zeros({m, 8}), at::zeros({k}), at::zeros({weights}), 0.1, temp, divisor);
  };
  EXPECT_NO_THROW(call(3, 3, 8, 0.05, 1.0));
  EXPECT_THROW(call(3, 2, 8, 0.05, 1.0), Error);
  EXPECT_THROW(call(3, 3, 7, 0.05, 1.0), Error);
  EXPECT_THROW(call(3, 3, 8, 0.0, 1.0), Error);
  EXPECT_THROW(call(3, 3, 8, 0.05, 0.0), Error);
  EXPECT_THROW(patch_loss(at::zeros({3, 8}), at::zeros({2, 8}), at::zeros({8}), at::zeros({3}), 0.1, 0.05, 1.0), Error);
}

TEST(DinoLossWeights, LocalTermsTimesFactor) {
  const at::Tensor centre = at::zeros({45}), teacher = uniform("teacher", {2, 3, 45}).to(at::kFloat);
  const auto run = [&](double factor, bool fused) {
    ops::set_fused(fused);
    const at::Tensor student = uniform("student", {5, 3, 45}).to(at::kFloat).set_requires_grad(true);
    const DinoLossResult r = dino_loss(student, teacher, centre, 0.1, 0.05, factor, /*want_teacher_sum=*/false);
    r.loss.backward();
    ops::set_fused(true);
    EXPECT_FALSE(r.teacher_sum.defined());
    EXPECT_EQ(r.teacher_rows, 6);
    return std::tuple{r.loss.item<double>(), student.grad(), r.kl, r.student_entropy};
  };
  for (const bool fused : {true, false}) {
    const auto [all, all_grad, all_kl, all_entropy] = run(1.0, fused);
    const auto [none, none_grad, none_kl, none_entropy] = run(0.0, fused);
    const auto [half, half_grad, half_kl, half_entropy] = run(0.5, fused);
    EXPECT_NEAR(half, (all + none) / 2, 1e-5 * all);
    EXPECT_TRUE(near("globals keep theirs", half_grad.narrow(0, 0, 2), all_grad.narrow(0, 0, 2), 1e-6));
    EXPECT_TRUE(near("locals take half", half_grad.narrow(0, 2, 3), all_grad.narrow(0, 2, 3) * 0.5, 1e-5));
    EXPECT_EQ(none_grad.narrow(0, 2, 3).abs().max().item<double>(), 0.0);
    EXPECT_EQ(half_kl, all_kl) << "the monitor does not follow the weight";
    EXPECT_EQ(half_entropy, all_entropy);
  }
}

TEST(DinoLossWeights, StudentEntropy) {
  EXPECT_NEAR(dino_loss(at::zeros({2, 3, 50}), at::ones({2, 3, 50}), at::zeros({50}), 0.1, 0.04).student_entropy, std::log(50.0), 1e-5);
  at::Tensor peak = at::zeros({2, 3, 50});
  peak.select(2, 7).fill_(10.0);
  EXPECT_NEAR(dino_loss(peak, at::ones({2, 3, 50}), at::zeros({50}), 0.1, 0.04).student_entropy, 0.0, 1e-6);
}

}  // namespace
}  // namespace dinoxx
