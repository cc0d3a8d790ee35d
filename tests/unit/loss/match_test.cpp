// Features against a frozen network's: loops in float64, ranks, refusals.
#include "dinoxx/loss/match.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "golden.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using golden::near;
using golden::uniform;
using testing::HasSubstr;
using testing::ThrowsMessage;

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}
double cosine(const double* a, const double* b, int64_t n) {
  return dot(a, b, n) / std::sqrt(dot(a, a, n) * dot(b, b, n));
}

// The definition, row by row: log of sums of exponentials, nothing shared.
double batch_by_loops(const at::Tensor& s, const at::Tensor& t, const at::Tensor& all, double student_temp, double target_temp) {
  const int64_t d = s.size(1), rows = s.size(0), keys = all.size(0);
  double loss = 0;
  for (int64_t i = 0; i < rows; ++i) {
    double of_student = 0, of_target = 0, cross = 0;
    const double* key = all.const_data_ptr<double>();
    const double *si = s.const_data_ptr<double>() + i * d, *ti = t.const_data_ptr<double>() + i * d;
    for (int64_t k = 0; k < keys; ++k) of_student += std::exp(cosine(si, key + k * d, d) / student_temp);
    for (int64_t k = 0; k < keys; ++k) of_target += std::exp(cosine(ti, key + k * d, d) / target_temp);
    for (int64_t k = 0; k < keys; ++k)
      cross -= std::exp(cosine(ti, key + k * d, d) / target_temp) / of_target *
               (cosine(si, key + k * d, d) / student_temp - std::log(of_student));
    loss += cross / static_cast<double>(rows);
  }
  return loss;
}

TEST(Match, CosinesByLoops) {
  const at::Tensor s = uniform("s", {2, 3, 5}).to(at::kDouble), t = uniform("t", {2, 3, 5}).to(at::kDouble);
  const at::Tensor counts = at::tensor({1, 0, 1, 1, 0, 0}).to(at::kBool).view({2, 3});
  double all = 0, some = 0;
  for (int64_t i = 0; i < 6; ++i) {
    const double distance = 1 - cosine(s.const_data_ptr<double>() + 5 * i, t.const_data_ptr<double>() + 5 * i, 5);
    all += distance / 6;
    if (counts.view({6})[i].item<bool>()) some += distance / 3;
  }
  EXPECT_NEAR(match_cosine(s, t).item<double>(), all, 1e-14);
  EXPECT_NEAR(match_cosine(s, t, counts).item<double>(), some, 1e-14);
  EXPECT_NEAR(match_cosine(3 * t, t).item<double>(), 0, 1e-14) << "lengths do not count";
  EXPECT_EQ(match_cosine(s, t, at::zeros({2, 3}, at::kBool)).item<double>(), 0) << "no row counts";
  const at::Tensor leaf = s.clone().set_requires_grad(true), target = t.clone().set_requires_grad(true);
  match_cosine(leaf, target, counts).backward();
  EXPECT_FALSE(target.grad().defined());
  EXPECT_EQ(leaf.grad()[0][1].abs().max().item<double>(), 0);
  EXPECT_GT(leaf.grad()[0][0].abs().max().item<double>(), 0);
}

TEST(Match, SimilaritiesByLoopsOnRanks) {
  const at::Tensor s = uniform("s", {6, 4}).to(at::kDouble), t = uniform("t", {6, 4}).to(at::kDouble);
  const auto self = make_self_communicator();
  const at::Tensor leaf = s.clone().set_requires_grad(true);
  const at::Tensor whole = match_batch(leaf, t, 0.2, 0.05, *self);
  EXPECT_NEAR(whole.item<double>(), batch_by_loops(s, t, t, 0.2, 0.05), 1e-12);
  whole.backward();
  testing_support::run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& comm) {
    const at::Tensor mine = s.narrow(0, 2 * comm->rank(), 2).clone().set_requires_grad(true), target = t.narrow(0, 2 * comm->rank(), 2);
    const at::Tensor loss = match_batch(mine, target, 0.2, 0.05, *comm);
    EXPECT_NEAR(loss.item<double>(), batch_by_loops(mine.detach(), target, t, 0.2, 0.05), 1e-12);
    loss.backward();
    EXPECT_TRUE(near("gradient", mine.grad() / 3, leaf.grad().narrow(0, 2 * comm->rank(), 2), 1e-12))
        << "the mean over ranks is the whole batch's";
  });
}

TEST(Match, RefusesOtherShapes) {
  const auto self = make_self_communicator();
  EXPECT_THAT([] { match_cosine(at::ones({2, 3}), at::ones({2, 4})); }, ThrowsMessage<Error>(HasSubstr("[2, 3] and [2, 4]")));
  EXPECT_THAT(
      [] {
        match_cosine(at::ones({2, 3}), at::ones({2, 3}), at::ones({3}, at::kBool));
      },
      ThrowsMessage<Error>(HasSubstr("a flag for each row")));
  EXPECT_THAT([&] { match_batch(at::ones({0, 3}), at::ones({0, 3}), 1, 1, *self); }, ThrowsMessage<Error>(HasSubstr("not empty")));
}

}  // namespace
}  // namespace dinoxx
