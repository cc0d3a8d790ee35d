// KoLeo, Gram, NT-Xent, BYOL and the gather: edges, refusals by name, what is not finite. Against the published formulas:
// tests/golden/loss/losses_test.cpp.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <limits>

#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/loss/byol_loss.hpp"
#include "dinoxx/loss/coding_rate.hpp"
#include "dinoxx/loss/gram.hpp"
#include "dinoxx/loss/koleo.hpp"
#include "dinoxx/loss/nt_xent.hpp"
#include "dinoxx/loss/sigreg.hpp"
#include "golden.hpp"
#include "loss/guide.hpp"
#include "loss/mean_target.hpp"
#include "thread_ranks.hpp"

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

at::Tensor leaf(const std::string& name, at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  return uniform(name, shape).to(type).set_requires_grad(true);
}

TEST(GatherRows, GradientsOfAllRanksMeet) {
  testing_support::run_thread_ranks(3, [](const std::shared_ptr<Communicator>& comm) {
    const double r = comm->rank();
    const at::Tensor mine = at::full({2, 4}, r, at::kDouble).set_requires_grad(true);
    const at::Tensor all = gather_rows(mine, *comm);
    ASSERT_EQ(all.sizes(), (at::IntArrayRef{6, 4}));
    EXPECT_EQ(all.select(1, 0).sum().item<double>(), 2 * (0 + 1 + 2));
    // rank q's loss weighs row i by (q + 1)(i + 1)
    (all * at::arange(1, 7, at::kDouble).view({6, 1}) * (r + 1)).sum().backward();
    const at::Tensor weights = at::arange(1, 7, at::kDouble).narrow(0, comm->rank() * 2, 2).view({2, 1}).expand({2, 4}) * 6.0;
    EXPECT_TRUE(near("gradient", mine.grad(), weights, 1e-15));
  });
}

TEST(Koleo, EqualImagesHaveAFiniteGradient) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor x = at::ones({4, 6}, type).set_requires_grad(true);
    const at::Tensor loss = koleo_loss(x, 4, 1, nullptr);
    EXPECT_NEAR(loss.item<double>(), -std::log(1e-8 * (std::sqrt(6.0) + 1)), 1e-3) << "as the published code: both eps";
    loss.backward();
    EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
  }
}

TEST(Koleo, Bfloat16AndZeros) {
  const at::Tensor x = leaf("x", {6, 10}, at::kBFloat16), wide = x.detach().to(at::kDouble).set_requires_grad(true);
  const at::Tensor loss = koleo_loss(x, 3, 2, nullptr), exact = koleo_loss(wide, 3, 2, nullptr);
  loss.backward();
  exact.backward();
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  EXPECT_TRUE(near("loss", loss, exact, 1e-5));
  EXPECT_TRUE(near("gradient", x.grad(), wide.grad(), 1.0 / 128));
  EXPECT_TRUE(koleo_loss(at::zeros({4, 3}), 4, 1, nullptr).isfinite().item<bool>());
}

TEST(Koleo, NotFiniteShows) {
  for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    at::Tensor x = uniform("x", {6, 10}).to(at::kFloat);
    x[3][4] = bad;
    EXPECT_FALSE(koleo_loss(x, 3, 1, nullptr).isfinite().item<bool>());
  }
}

TEST(Koleo, RefusesByName) {
  const at::Tensor x = at::zeros({6, 4});
  EXPECT_THAT(error_of([&] { koleo_loss(x, 1, 1, nullptr); }), HasSubstr("KoLeo: expected groups of at least two images"));
  EXPECT_THAT(error_of([&] { koleo_loss(x.narrow(0, 0, 1), 0, 1, nullptr); }), HasSubstr("at least two images"));
  EXPECT_THAT(error_of([&] { koleo_loss(x, 4, 1, nullptr); }), HasSubstr("divides the local batch"));
  EXPECT_THAT(error_of([&] { koleo_loss(x, 12, 1, nullptr); }), HasSubstr("divides the global batch"));
  EXPECT_THAT(error_of([&] { koleo_loss(x, 3, 3, nullptr); }), HasSubstr("1 to 2 neighbours"));
  EXPECT_THAT(error_of([&] { koleo_loss(x.view({2, 3, 4}), 2, 1, nullptr); }), HasSubstr("features [B, D]"));
  EXPECT_NO_THROW(check_koleo(6, 2, 12, 1));
  EXPECT_NO_THROW(check_koleo(1, 2, 0, 1));
  EXPECT_THROW(check_koleo(1, 1, 0, 1), UsageError);
  EXPECT_THROW(check_koleo(4, 3, 8, 1), UsageError) << "the third rank would lie in half a group";
  EXPECT_THROW(check_koleo(4, 3, -4, 1), UsageError);
}

/// All at once, as autograd would do it.
at::Tensor whole_gram(const at::Tensor& student, const at::Tensor& teacher) {
  const auto normal = [](const at::Tensor& t) { return t / t.norm(2, -1, true); };
  const at::Tensor x = normal(student), y = normal(teacher);
  return (at::matmul(x, x.transpose(1, 2)) - at::matmul(y, y.transpose(1, 2))).square().mean();
}

TEST(Gram, BlocksOfRows) {
  // 2500 tokens: two blocks of rows, the last one smaller
  const at::Tensor student = leaf("student", {1, 2500, 4}, at::kDouble), teacher = uniform("teacher", {1, 2500, 4});
  const at::Tensor again = student.detach().clone().set_requires_grad(true);
  const at::Tensor loss = gram_loss(student, teacher, {}), expected = whole_gram(again, teacher);
  (loss * 3.0).backward();
  (expected * 3.0).backward();
  EXPECT_TRUE(near("loss", loss, expected, 1e-12));
  EXPECT_TRUE(near("gradient", student.grad(), again.grad(), 1e-12));
}

TEST(Gram, Bfloat16AndWithoutGradient) {
  const at::Tensor student = leaf("student", {2, 9, 8}, at::kBFloat16), teacher = uniform("teacher", {2, 9, 8}).to(at::kBFloat16);
  const at::Tensor loss = gram_loss(student, teacher, {});
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  EXPECT_TRUE(near("loss", loss, whole_gram(student.detach().to(at::kDouble), teacher.to(at::kDouble)), 1e-5));
  loss.backward();
  EXPECT_EQ(student.grad().scalar_type(), at::kBFloat16);
  EXPECT_FALSE(gram_loss(student.detach(), teacher, {}).requires_grad());
}

TEST(Gram, GroupWithoutTokensCountsZero) {
  const at::Tensor student = leaf("student", {4, 5, 3}, at::kDouble), teacher = uniform("teacher", {4, 5, 3});
  at::Tensor mask = at::zeros({4, 5}, at::kBool);
  mask[2].fill_(true);
  const GramOptions masked{.group_size = 2, .tokens = GramTokens::kMasked};
  const at::Tensor loss = gram_loss(student, teacher, masked, mask);
  EXPECT_TRUE(near("loss", loss, whole_gram(student.narrow(0, 2, 1), teacher.narrow(0, 2, 1)) / 2.0, 1e-12));
  const at::Tensor none = gram_loss(student, teacher, masked, at::zeros({4, 5}, at::kBool));
  EXPECT_EQ(none.item<double>(), 0.0);
  none.backward();
  EXPECT_EQ(student.grad().abs().max().item<double>(), 0.0);
}

TEST(Gram, NotFiniteShows) {
  for (const GramNegatives negatives : {GramNegatives::kKeep, GramNegatives::kRemoveBoth, GramNegatives::kRemoveTeacher}) {
    for (const bool in_teacher : {false, true}) {
      at::Tensor student = uniform("student", {2, 6, 4}).to(at::kFloat), teacher = uniform("teacher", {2, 6, 4}).to(at::kFloat);
      (in_teacher ? teacher : student)[1][2][3] = kNan;
      EXPECT_TRUE(gram_loss(student, teacher, {.negatives = negatives}).isnan().item<bool>());
    }
  }
}

TEST(Gram, Refusals) {
  const at::Tensor x = uniform("x", {4, 6, 3});
  EXPECT_THAT(error_of([&] { gram_loss(x, uniform("y", {4, 24, 3}), {}); }), HasSubstr("reduce_tokens"));
  EXPECT_THAT(error_of([&] { gram_loss(x, x, {.group_size = 3}); }), HasSubstr("divides the batch"));
  EXPECT_THAT(error_of([&] {
                gram_loss(x, x, {.tokens = GramTokens::kMasked}, at::ones({4, 6}, at::kBool));
              }),
              HasSubstr("groups of images"));
  EXPECT_THAT(error_of([&] { gram_loss(x, x, {.group_size = 2, .tokens = GramTokens::kMasked}); }), HasSubstr("bool mask"));
  EXPECT_THAT(error_of([&] { reduce_tokens(x, 2, 4, 1, 2); }), HasSubstr("2 x 4"));
  EXPECT_TRUE(at::equal(reduce_tokens(x, 2, 3, 2, 3), x));
}

TEST(NtXent, IdenticalViewsAndNotFinite) {
  const auto self = make_self_communicator();
  // orthogonal images whose two views agree: log(1 + (2 N - 2) exp(-1 / T)), N = 3
  const at::Tensor eye = at::eye(3, at::kDouble), z = at::stack({eye * 2.0, eye});
  EXPECT_NEAR(nt_xent(z, 0.5, *self).item<double>(), std::log(1 + 4 * std::exp(-2.0)), 1e-12);
  for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    at::Tensor broken = uniform("z", {2, 4, 5}).to(at::kFloat);
    broken[1][2][0] = bad;
    EXPECT_FALSE(nt_xent(broken, 0.2, *self).isfinite().item<bool>());
  }
  EXPECT_THAT(error_of([&] { nt_xent(at::zeros({2, 1, 4}), 0.2, *self); }), HasSubstr("at least two images"));
  EXPECT_THAT(error_of([&] { nt_xent(at::zeros({3, 4, 4}), 0.2, *self); }), HasSubstr("two views"));
  EXPECT_THAT(error_of([&] { nt_xent(z, 0.0, *self); }), HasSubstr("positive temperature"));
}

TEST(CodingRate, OneDirectionOrthogonalOnesAndRefusals) {
  const auto self = make_self_communicator();
  const double n = 4, d = 6, eps = 0.5, gamma = (n + d) / (n * d);
  // all alike: one eigenvalue of N; orthogonal: N of 1, the most that N images can have
  const at::Tensor alike = at::full({1, 4, 6}, 1 / std::sqrt(6.0), at::kDouble),
                   apart = at::eye(6, at::kDouble).narrow(0, 0, 4).unsqueeze(0);
  EXPECT_NEAR(coding_rate(alike, eps, *self).item<double>(), gamma / 2 * std::log(1 + d / eps), 1e-12);
  EXPECT_NEAR(coding_rate(apart, eps, *self).item<double>(), gamma / 2 * n * std::log(1 + d / (n * eps)), 1e-12);
  at::Tensor broken = apart.clone();
  broken[0][1][1] = kNan;
  EXPECT_FALSE(coding_rate(broken, eps, *self).isfinite().item<bool>());
  EXPECT_THAT(error_of([&] { coding_rate(alike[0], eps, *self); }), HasSubstr("[V, B, D]"));
  EXPECT_THAT(error_of([&] { coding_rate(alike, 0.0, *self); }), HasSubstr("positive eps"));
}

TEST(ViewAgreement, RangeAndRefusals) {
  const at::Tensor a = uniform("a", {2, 3, 5}), agreed = at::stack({a[0], a[0], a[0]});
  EXPECT_NEAR(view_agreement(agreed, agreed.narrow(0, 0, 2) * 3.0).item<double>(), 1.0, 1e-12);
  EXPECT_NEAR(view_agreement(agreed, agreed.narrow(0, 0, 2) * -1.0).item<double>(), -1.0, 1e-12);
  at::Tensor teacher = a.clone();
  teacher.set_requires_grad(true);
  EXPECT_FALSE(view_agreement(a, teacher).requires_grad()) << "no gradient goes to the teacher";
  EXPECT_THAT(error_of([&] { view_agreement(a.narrow(0, 0, 1), a.narrow(0, 0, 1)); }), HasSubstr("at least two views"));
  EXPECT_THAT(error_of([&] { view_agreement(a, agreed); }), HasSubstr("[3, 3, 5]"));
}

TEST(Sigreg, GaussianConstantAndDirections) {
  const auto self = make_self_communicator();
  const at::Tensor directions = sigreg_directions(4, 64, 7, 3);
  EXPECT_EQ(directions.sizes(), (std::vector<int64_t>{4, 64}));
  EXPECT_TRUE(near("norms", at::linalg_vector_norm(directions, 2, 0), at::ones({64}, at::kDouble), 1e-12));
  EXPECT_TRUE(directions.equal(sigreg_directions(4, 64, 7, 3)));
  EXPECT_FALSE(directions.equal(sigreg_directions(4, 64, 7, 4)));
  // no direction is preferred: the mean of 4,096 unit vectors, and that of their outer products
  const at::Tensor many = sigreg_directions(4, 4096, 1, 0);
  EXPECT_LT(many.mean(1).abs().max().item<double>(), 0.03);
  EXPECT_TRUE(near("outer products", at::matmul(many, many.t()) / 4096.0, at::eye(4, at::kDouble) / 4.0, 0.06));
  // samples of a Gaussian: the statistic's expectation is the integral of (1 - exp(-t^2)) exp(-t^2 / 2), about 1.05, at any N
  const at::Tensor gaussian = at::special_ndtri(uniform("g", {1, 4000, 4}) * 0.5 + 0.5);
  const double at_rest = sigreg(gaussian, directions, *self).item<double>();
  EXPECT_GT(at_rest, 0.3);
  EXPECT_LT(at_rest, 3.0);
  EXPECT_GT(sigreg(gaussian * 0.5, directions, *self).item<double>(), 50 * at_rest);
  EXPECT_GT(sigreg(gaussian + 1.0, directions, *self).item<double>(), 50 * at_rest);
  EXPECT_THAT(error_of([&] { sigreg(gaussian, directions.narrow(0, 0, 3), *self); }), HasSubstr("directions [D, S]"));
}

TEST(Byol, RangeAndRefusals) {
  const at::Tensor a = uniform("a", {2, 3, 5}), agreed = at::stack({a[0], a[0]});
  EXPECT_NEAR(byol_loss(agreed, agreed * 3.0).item<double>(), 0.0, 1e-12);
  EXPECT_NEAR(byol_loss(agreed, agreed * -3.0).item<double>(), 8.0, 1e-12) << "two directions of 4 each, not halved";
  at::Tensor target = a.clone();
  target.set_requires_grad(true);
  EXPECT_FALSE(byol_loss(a, target).requires_grad()) << "no gradient goes to the target";
  at::Tensor broken = a.clone();
  broken[1][1][1] = kNan;
  EXPECT_TRUE(byol_loss(broken, a).isnan().item<bool>());
  EXPECT_TRUE(byol_loss(a, broken).isnan().item<bool>());
  EXPECT_THROW(byol_loss(a, uniform("t", {3, 3, 5})), Error);
  EXPECT_THROW(byol_loss(a.narrow(0, 0, 1), a.narrow(0, 0, 1)), Error);
  EXPECT_THROW(byol_loss(a, uniform("t", {2, 3, 4})), Error);
}

// Nothing to tell: a value of 0 and a gradient of 0, not NaN.
TEST(MeanTargetLoss, IsBetweenZeroAndTwoAndHasNoGradientThroughItsTargets) {
  const at::Tensor a = uniform("mean/a", {3, 4, 5}).requires_grad_(), z = uniform("mean/z", {3, 4, 5}).requires_grad_();
  at::Tensor others = (z.sum(0, true) - z).detach();
  EXPECT_NEAR(mean_target_loss(others, z).item<double>(), 0.0, 1e-6);
  EXPECT_NEAR(mean_target_loss(others * -2.0, z * 3.0).item<double>(), 2.0, 1e-6);
  mean_target_loss(a, z).backward();
  EXPECT_TRUE(a.grad().defined());
  EXPECT_FALSE(z.grad().defined());
  EXPECT_TRUE(mean_target_loss(at::full_like(others, std::nan("")), z).isnan().item<bool>());
  EXPECT_THROW(mean_target_loss(a.narrow(0, 0, 1), z.narrow(0, 0, 1)), Error);
  EXPECT_THROW(mean_target_loss(a, z.narrow(0, 0, 2)), Error);
}

TEST(DistanceCorrelation, OfWhatSaysNothingIsZero) {
  const auto self = make_self_communicator();
  const auto of = [&](const at::Tensor& targets, const at::Tensor& features) {
    const at::Tensor x = features.clone().set_requires_grad(true);
    const at::Tensor loss = distance_correlation(x, targets, *self);
    loss.backward();
    EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
    return std::pair{loss.item<double>(), x.grad().abs().max().item<double>()};
  };
  const at::Tensor features = golden::uniform("dc", {2, 8, 5}), classes = at::arange(8, at::kLong).remainder(2);
  const std::pair nothing{0.0, 0.0};
  EXPECT_EQ(of(at::zeros({8}, at::kLong), features), nothing) << "one class";
  EXPECT_EQ(of(at::full({8}, -1, at::kLong), features), nothing) << "none known";
  EXPECT_EQ(of(at::tensor({0, 1, 0, -1, -1, -1, -1, -1}, at::kLong), features), nothing) << "three known";
  EXPECT_EQ(of(at::full({8}, 2.5, at::kDouble), features), nothing) << "one number";
  EXPECT_LT(std::abs(of(classes, at::ones({2, 8, 5}, at::kDouble)).first), 1e-6) << "features all alike";
  // what follows from the class, and what has nothing to do with it
  at::Tensor told = at::zeros({1, 64, 2}, at::kDouble);
  const at::Tensor many = at::arange(64, at::kLong).remainder(2);
  told.select(2, 0).copy_(many);
  told.select(2, 1).copy_(1 - many);
  EXPECT_NEAR(of(many, told).first, 1, 1e-3);
  EXPECT_LT(std::abs(of(many, golden::uniform("dc2", {1, 64, 2})).first), 0.1);
  EXPECT_THAT(error_of([&] { distance_correlation(features, at::zeros({7}, at::kLong), *self); }), HasSubstr("features [V, B, D]"));
}

}  // namespace
}  // namespace dinoxx
