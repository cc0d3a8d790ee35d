#include "dinoxx/loss/supervised.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

namespace dinoxx {

namespace {

constexpr const char* kSubject = "supervised loss";

void check_spec(const SupervisedLoss& spec) {
  const auto require = [](bool holds, const char* expected, double found) {
    if (!holds) fail(kSubject, expected, fmt::format("{}", found), "Correct the parameter");
  };
  require(spec.beta >= 0 && spec.beta < 1, "beta in [0, 1)", spec.beta);
  require(std::isfinite(spec.tau), "a finite tau", spec.tau);
  require(spec.gamma >= 0 && std::isfinite(spec.gamma), "gamma >= 0", spec.gamma);
  require(spec.smoothing >= 0 && spec.smoothing < 1, "label smoothing in [0, 1)", spec.smoothing);
  if (spec.kind == SupervisedKind::kFocal && spec.smoothing > 0)
    fail(kSubject, "focal loss without label smoothing", fmt::format("smoothing {}", spec.smoothing),
         "It is defined by the probability of one class");
}

void check_batch(const at::Tensor& logits, const at::Tensor& labels) {
  if (logits.dim() != 2 || labels.dim() != 1 || labels.size(0) != logits.size(0) || logits.numel() == 0 ||
      labels.scalar_type() != at::kLong)
    fail(kSubject, "logits [B, C] and labels [B] of int64, B and C above zero",
         fmt::format("[{}] and [{}] of {}", fmt::join(logits.sizes(), ", "), fmt::join(labels.sizes(), ", "),
                     at::toString(labels.scalar_type())),
         "One label belongs to each row");
  const auto [low, high] = labels.aminmax();
  if (low.item<int64_t>() < 0 || high.item<int64_t>() >= logits.size(1))
    fail(kSubject, fmt::format("labels from 0 to {}", logits.size(1) - 1),
         fmt::format("{} to {}", low.item<int64_t>(), high.item<int64_t>()), "Leave images without a label out");
}

// The counts as a tensor beside the logits, after the check that every label of the batch is of a class that has images.
at::Tensor counts_of(const at::Tensor& logits, const at::Tensor& labels, const SupervisedLoss& spec) {
  const auto& counts = spec.counts;
  const bool valid =
      std::ssize(counts) == logits.size(1) && *std::ranges::min_element(counts) >= 0 && *std::ranges::max_element(counts) > 0;
  if (!valid)
    fail(kSubject, fmt::format("the training images of each of {} classes", logits.size(1)),
         fmt::format("counts [{}]", fmt::join(counts, ", ")), "class_balanced and logit_adjusted need them");
  const at::Tensor all = at::tensor(counts, at::kLong).to(labels.device());
  if (all.index_select(0, labels).min().item<int64_t>() == 0)
    fail(kSubject, "labels of classes with training images", "a label of a class with count 0",
         "Count the training part that the batch is of");
  return all;
}

std::vector<double> balanced_weights(const SupervisedLoss& spec) {
  std::vector<double> weights;
  for (const int64_t n : spec.counts)  // -expm1(n log beta) = 1 - beta^n without cancellation for beta near 1
    weights.push_back(n == 0 ? 0 : (1 - spec.beta) / -std::expm1(static_cast<double>(n) * std::log(spec.beta)));
  const auto present = static_cast<double>(std::ranges::count_if(spec.counts, [](int64_t n) { return n > 0; }));
  const double scale = present / std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight *= scale;
  return weights;
}

at::Tensor log_prior(const at::Tensor& counts) {
  const at::Tensor n = counts.clamp_min(1).to(at::kDouble);
  return n.log() - std::log(counts.sum().item<double>());
}

}  // namespace

at::Tensor supervised_loss(const at::Tensor& logits, const at::Tensor& labels, const SupervisedLoss& spec) {
  check_spec(spec);
  check_batch(logits, labels);
  at::Tensor z = logits.to(loss_common::wide_type(logits));
  if (spec.kind == SupervisedKind::kLogitAdjusted) z = z + (spec.tau * log_prior(counts_of(logits, labels, spec))).to(z.options());
  const at::Tensor log_p = at::log_softmax(z, -1);
  const at::Tensor rows = labels.to(logits.device());  // labels are checked where they are: on a GPU the host would wait for the answer
  at::Tensor own = log_p.gather(1, rows.unsqueeze(1)).squeeze(1);
  if (spec.kind == SupervisedKind::kFocal) {
    // 1 - p from log p without cancellation; the floor keeps the slope of a power below 1 finite where p is 1
    const at::Tensor miss = (-at::expm1(own)).clamp_min(1e-30);
    return -(miss.pow(spec.gamma) * own).mean();
  }
  if (spec.smoothing > 0) own = (1 - spec.smoothing) * own + spec.smoothing * log_p.mean(-1);
  if (spec.kind == SupervisedKind::kClassBalanced) {
    counts_of(logits, labels, spec);
    const at::Tensor weights = at::tensor(balanced_weights(spec), at::kDouble).to(z.options());
    own = own * weights.index_select(0, rows);
  }
  return -own.mean();
}

}  // namespace dinoxx
