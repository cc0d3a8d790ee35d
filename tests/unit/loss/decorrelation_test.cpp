// VICReg, Barlow Twins and SwAV: answers that are known by hand, refusals by name, what is not finite. Against the published formulas:
// tests/golden/loss/losses_test.cpp.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "golden.hpp"
#include "loss/prototypes/swapped_prediction.hpp"
#include "loss/whole_batch/cross_correlation.hpp"
#include "loss/whole_batch/variance_covariance.hpp"

namespace dinoxx {
namespace {

using golden::near;
using golden::uniform;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Two channels over four images, of mean 0 and mean square 1, that do not vary together.
at::Tensor uncorrelated() {
  return at::tensor({1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0}, at::kDouble).view({4, 2});
}

TEST(VarianceCovariance, KnownByHand) {
  const auto self = make_self_communicator();
  const at::Tensor half = uncorrelated() * 0.5, views = at::stack({half, half + 3.0});
  const VarianceCovariance apart = variance_covariance(views, *self);
  EXPECT_NEAR(apart.invariance.item<double>(), 9.0, 1e-12);
  EXPECT_NEAR(apart.variance.item<double>(), 1 - std::sqrt(1.0 / 3 + 1e-4), 1e-12) << "unbiased: 4 / 3 of the mean square 0.25";
  EXPECT_NEAR(apart.covariance.item<double>(), 0.0, 1e-12);
  EXPECT_EQ(variance_covariance(views * 4.0, *self).variance.item<double>(), 0.0) << "above 1 is enough";
  // one channel twice: two off-diagonal elements of (1 / 3)^2 in each view, divided by two channels
  const at::Tensor same = half.narrow(1, 0, 1).expand({4, 2});
  EXPECT_NEAR(variance_covariance(at::stack({same, same}), *self).covariance.item<double>(), 2.0 / 9, 1e-12);
}

TEST(VarianceCovariance, EqualImagesHaveAFiniteGradient) {
  const auto self = make_self_communicator();
  const at::Tensor z = at::ones({2, 4, 6}, at::kFloat).set_requires_grad(true);
  const VarianceCovariance parts = variance_covariance(z, *self);
  EXPECT_NEAR(parts.variance.item<double>(), 0.99, 1e-6) << "sqrt(1e-4) is left of the deviation";
  (parts.invariance + parts.variance + parts.covariance).backward();
  EXPECT_TRUE(z.grad().isfinite().all().item<bool>());
}

TEST(CrossCorrelation, KnownByHand) {
  const auto self = make_self_communicator();
  const double kept = 1 / (1 + 1e-5);  // of a variance of 1 beside the eps
  const at::Tensor x = uncorrelated();
  const CrossCorrelation apart = cross_correlation(at::stack({x, x + 5.0}), *self);
  EXPECT_NEAR(apart.invariance.item<double>(), 2 * (1 - kept) * (1 - kept), 1e-12);
  EXPECT_NEAR(apart.redundancy.item<double>(), 0.0, 1e-12);
  // channels that are exchanged: none with itself, each with the other
  const CrossCorrelation exchanged = cross_correlation(at::stack({x, x.flip(1)}), *self);
  EXPECT_NEAR(exchanged.invariance.item<double>(), 2.0, 1e-12);
  EXPECT_NEAR(exchanged.redundancy.item<double>(), 2 * kept * kept, 1e-12);
  const at::Tensor constant = at::ones({2, 4, 3}, at::kFloat).set_requires_grad(true);
  const CrossCorrelation none = cross_correlation(constant, *self);
  EXPECT_EQ(none.invariance.item<double>(), 3.0);
  (none.invariance + none.redundancy).backward();
  EXPECT_TRUE(constant.grad().isfinite().all().item<bool>());
}

// More channels than images and fewer: the sum over pairs of channels is taken in two ways.
TEST(Decorrelation, Bfloat16NotFiniteAndRefusals) {
  const auto self = make_self_communicator();
  for (const int64_t dim : {3, 20}) {
    const at::Tensor z = uniform("z", {2, 8, dim}).to(at::kBFloat16), wide = z.to(at::kDouble);
    const VarianceCovariance v = variance_covariance(z, *self), exact = variance_covariance(wide, *self);
    EXPECT_EQ(v.covariance.scalar_type(), at::kFloat);
    EXPECT_TRUE(near("covariance", v.covariance, exact.covariance, 1e-5));
    EXPECT_TRUE(near("redundancy", cross_correlation(z, *self).redundancy, cross_correlation(wide, *self).redundancy, 1e-5));
    for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
      at::Tensor broken = z.to(at::kFloat);
      broken[1][2][0] = bad;
      const VarianceCovariance parts = variance_covariance(broken, *self);
      EXPECT_FALSE((parts.invariance + parts.variance + parts.covariance).isfinite().item<bool>());
      const CrossCorrelation c = cross_correlation(broken, *self);
      EXPECT_FALSE((c.invariance + c.redundancy).isfinite().item<bool>());
    }
  }
  EXPECT_THAT(error_of([&] { variance_covariance(at::zeros({2, 1, 4}), *self); }), HasSubstr("VICReg: expected two views of at least two"));
  EXPECT_THAT(error_of([&] { variance_covariance(at::zeros({3, 4, 4}), *self); }), HasSubstr("[3, 4, 4] on each of 1 rank"));
  EXPECT_THAT(error_of([&] { cross_correlation(at::zeros({4, 4}), *self); }), HasSubstr("Barlow Twins: expected two views"));
}

TEST(SwappedPrediction, KnownByHand) {
  const auto self = make_self_communicator();
  // two images, each nearer to another prototype: balanced already, so that the code is a softmax
  const double a = 0.03, temp = 0.1, codes_temp = 0.05;
  const at::Tensor rows = at::tensor({a, -a, -a, a}, at::kDouble).view({2, 2}), views = at::stack({rows, rows, rows * 2.0});
  const double code = 1 / (1 + std::exp(-2 * a / codes_temp));
  const auto cross_entropy = [&](double logit) {
    const double p = 1 / (1 + std::exp(-2 * logit / temp));
    return -code * std::log(p) - (1 - code) * std::log(1 - p);
  };
  // pairs: the two global views with each other, and the third one with both
  const DinoLossResult r = swapped_prediction(views, 2, temp, codes_temp, 3, *self);
  EXPECT_NEAR(r.loss.item<double>(), (cross_entropy(a) + cross_entropy(2 * a)) / 2, 1e-12);
  // a prototype that all prefer alike gets its share and no more
  const at::Tensor preferred = views + at::tensor({0.4, 0.0}, at::kDouble);
  const at::Tensor balanced = swapped_prediction(preferred, 2, temp, codes_temp, 3, *self).loss;
  const at::Tensor log_q = at::log_softmax(preferred / temp, -1), target = at::tensor({code, 1 - code, 1 - code, code}, at::kDouble);
  const auto expected = [&](int64_t view) { return -(target.view({2, 2}) * log_q[view]).sum(-1).mean().item<double>(); };
  EXPECT_NEAR(balanced.item<double>(), (expected(0) + expected(2)) / 2, 1e-12);
}

TEST(SwappedPrediction, NotFiniteAndRefusals) {
  const auto self = make_self_communicator();
  at::Tensor logits = uniform("logits", {3, 4, 5}).to(at::kFloat);
  EXPECT_TRUE(swapped_prediction(logits.to(at::kBFloat16), 2, 0.1, 0.05, 3, *self).loss.isfinite().item<bool>());
  logits[2][1][0] = kNan;
  EXPECT_FALSE(swapped_prediction(logits, 2, 0.1, 0.05, 3, *self).loss.isfinite().item<bool>());
  const auto refused = [&](const at::Tensor& x, int64_t globals, double temp, double codes_temp) {
    return error_of([&] { swapped_prediction(x, globals, temp, codes_temp, 3, *self); });
  };
  EXPECT_THAT(refused(logits.narrow(0, 0, 1), 1, 0.1, 0.05), HasSubstr("at least two views"));
  EXPECT_THAT(refused(logits, 0, 0.1, 0.05), HasSubstr("with 0 global views"));
  EXPECT_THAT(refused(logits, 4, 0.1, 0.05), HasSubstr("with 4 global views"));
  EXPECT_THAT(refused(logits, 2, 0.0, 0.05), HasSubstr("positive temperatures"));
  EXPECT_THAT(refused(logits, 2, 0.1, 0.0), HasSubstr("temperature"));
}

}  // namespace
}  // namespace dinoxx
