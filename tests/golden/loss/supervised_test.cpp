// The losses for labelled images against their published formulas, values and gradients, and what they refuse.
#include "dinoxx/loss/supervised.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"
#include "golden.hpp"

namespace dinoxx::golden {
namespace {

using enum SupervisedKind;
const std::vector<int64_t> kCounts{900, 31, 1, 250, 7, 0, 12};

at::Tensor the_labels() {
  return at::tensor(std::vector<int64_t>{0, 1, 2, 3, 4, 0, 0, 2, 6}, at::kLong);
}

TEST(GoldenSupervised, ValuesAndGradients) {
  const Fixture fixture("supervised");
  const std::vector<std::pair<const char*, SupervisedLoss>> cases{
      {"cross_entropy", {.kind = kCrossEntropy}},
      {"cross_entropy_smooth", {.kind = kCrossEntropy, .smoothing = 0.1}},
      {"class_balanced", {.kind = kClassBalanced, .counts = kCounts, .beta = 0.999}},
      {"class_balanced_smooth", {.kind = kClassBalanced, .counts = kCounts, .beta = 0.9, .smoothing = 0.2}},
      {"class_balanced_zero", {.kind = kClassBalanced, .counts = kCounts, .beta = 0}},
      {"logit_adjusted", {.kind = kLogitAdjusted, .counts = kCounts, .tau = 1}},
      {"logit_adjusted_smooth", {.kind = kLogitAdjusted, .counts = kCounts, .tau = 1.7, .smoothing = 0.1}},
      {"focal", {.kind = kFocal, .gamma = 2}},
      {"focal_half", {.kind = kFocal, .gamma = 0.5}},
      {"focal_zero", {.kind = kFocal, .gamma = 0}}};
  for (const auto& [name, spec] : cases)
    for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-9}, std::pair{at::kFloat, 1e-5}}) {
      SCOPED_TRACE(name);
      const at::Tensor logits = (4 * uniform("supervised/logits", {9, 7})).to(dtype).set_requires_grad(true);
      const at::Tensor loss = supervised_loss(logits, the_labels(), spec);
      EXPECT_EQ(loss.scalar_type(), dtype);
      loss.backward();
      EXPECT_TRUE(fixture.matches(std::string(name) + "/loss", loss.reshape({1}), tolerance));
      EXPECT_TRUE(fixture.matches(std::string(name) + "/grad_logits", logits.grad(), tolerance));
    }
}

// A sure answer: p = 1 exactly in floating point. The loss and its gradient are 0, whatever the power.
TEST(GoldenSupervised, FocalOfASureAnswerHasNoSlope) {
  const at::Tensor logits = at::tensor({2000.0, 0.0, 0.0}, at::kDouble).reshape({1, 3}).set_requires_grad(true);
  const at::Tensor loss = supervised_loss(logits, at::zeros({1}, at::kLong), {.kind = kFocal, .gamma = 0.5});
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_EQ(logits.grad().abs().max().item<double>(), 0);
}

TEST(GoldenSupervised, Refusals) {
  const at::Tensor logits = uniform("supervised/logits", {9, 7}), labels = the_labels();
  const auto refused = [&](const at::Tensor& y, const SupervisedLoss& spec, const std::string& word) {
    try {
      supervised_loss(logits, y, spec);
      ADD_FAILURE() << "taken, though " << word;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refused(labels, {.kind = kClassBalanced}, "training images of each of 7 classes");
  refused(labels, {.kind = kLogitAdjusted, .counts = {1, 2}}, "counts [1, 2]");
  refused(labels, {.kind = kLogitAdjusted, .counts = {0, 0, 0, 0, 0, 0, 0}}, "counts");
  for (const auto kind : {kClassBalanced, kLogitAdjusted})
    refused(at::full({9}, 5, at::kLong), {.kind = kind, .counts = kCounts}, "count 0");
  refused(labels, {.kind = kFocal, .smoothing = 0.1}, "smoothing");
  refused(labels, {.kind = kClassBalanced, .counts = kCounts, .beta = 1}, "beta");
  refused(labels - 1, {}, "labels from 0 to 6");
  refused(labels.narrow(0, 0, 8), {}, "One label belongs to each row");
  refused(labels.to(at::kInt), {}, "int64");
}

}  // namespace
}  // namespace dinoxx::golden
