#include "monitors.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"
#include "prototypes/column_sums.hpp"

namespace dinoxx {

FeatureSpread feature_spread(const at::Tensor& features) {
  if (features.dim() != 2 || features.size(0) < 2)
    fail("feature spread", "features [N, D] of at least two images", fmt::format("[{}]", fmt::join(features.sizes(), ", ")),
         "Measure a larger batch");
  at::NoGradGuard no_grad;
  const at::Tensor x = features.detach().to(at::kCPU, at::kDouble);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (!x.isfinite().all().item<bool>()) return {nan, nan};
  FeatureSpread spread;
  spread.deviation =
      loss_common::normalized(x).std(0, /*unbiased=*/false).mean().item<double>() * std::sqrt(static_cast<double>(x.size(1)));
  const at::Tensor gram = x.size(0) <= x.size(1) ? at::mm(x, x.t()) : at::mm(x.t(), x);
  const at::Tensor singular = at::linalg_eigvalsh(gram).clamp_min_(0.0).sqrt_();
  const double sum = singular.sum().item<double>();
  if (sum == 0) return {0.0, 1.0};
  const at::Tensor p = singular / sum + 1e-7;
  spread.effective_rank = std::exp(-(p * p.log()).sum().item<double>());
  return spread;
}

PrototypeUsage prototype_usage(const Scores& logits, const at::Tensor& centre, double temp, Communicator* comm) {
  if (logits.dim() < 2 || centre.dim() != 1 || logits.size(-1) != centre.size(0) || !(temp > 0))
    fail("prototype usage", "logits [..., K], centre [K] and a positive temperature",
         fmt::format("[{}], [{}] and {}", fmt::join(logits.sizes(), ", "), fmt::join(centre.sizes(), ", "), temp),
         "This is a defect of the program");
  at::NoGradGuard no_grad;
  const Scores rows = logits.detach().flatten();
  const int64_t prototypes = rows.size(1);
  at::Tensor is_top = at::zeros({prototypes}, at::TensorOptions(at::kByte).device(rows.device()));
  const at::Tensor mine = loss_columns::softmax_sums(rows, centre.detach(), temp, is_top);
  at::Tensor sums = at::cat({mine.to(at::kDouble), at::full({1}, static_cast<double>(rows.size(0)), mine.options().dtype(at::kDouble))});
  if (Communicator* const others = rows.shards() ? rows.shards()->fellows : comm) {
    others->all_reduce(is_top, ReduceOp::kMax)->wait();
    others->all_reduce(sums, ReduceOp::kSum)->wait();
  }
  // of these columns: prototypes that are used, prototypes, entropy of the mean assignment
  const at::Tensor total = sums[prototypes], entropy = at::special_entr(sums.narrow(0, 0, prototypes) / total).sum();
  const at::Tensor found = at::stack({is_top.count_nonzero().to(at::kDouble), at::full_like(entropy, prototypes), entropy});
  if (rows.shards()) rows.shards()->ranks->all_reduce(found, ReduceOp::kSum)->wait();
  PrototypeUsage usage;
  usage.rows = static_cast<int64_t>(total.item<double>());
  if (usage.rows == 0) return usage;
  usage.used = found[0].item<double>() / found[1].item<double>();
  usage.perplexity = std::exp(found[2].item<double>());
  return usage;
}

namespace {
constexpr double kConstantDeviation = 0.01, kOneLine = 1.05;
}

void FirstSpread::look(const CollapseSigns& signs) {
  over_ = over_ || (signs.deviation >= kConstantDeviation && signs.effective_rank >= kOneLine);
  if (std::isnan(signs.deviation)) return;
  deviations_.push_back(signs.deviation);
  if (deviations_.size() > kLooks + 1) deviations_.pop_front();
}

bool FirstSpread::goes_on() const {
  if (over_ || deviations_.empty()) return false;
  return deviations_.size() == 1 || deviations_.back() > 1.1 * deviations_.front();
}

std::optional<std::string> collapse_alarm(const CollapseSigns& signs) {
  std::vector<std::string> reasons;  // comparisons with NaN are false: what was not measured raises no alarm
  if (signs.deviation < kConstantDeviation)
    reasons.push_back(fmt::format("features hardly differ between images (deviation {:.4f}, alarm below 0.01)", signs.deviation));
  if (signs.effective_rank < kOneLine)
    reasons.push_back(fmt::format("features lie on one line (effective rank {:.3f}, alarm below 1.05)", signs.effective_rank));
  if (signs.prototypes >= 8 && signs.perplexity < 1.5)
    reasons.push_back(fmt::format("one prototype takes nearly all images (perplexity {:.3f} of {}, alarm below 1.5)", signs.perplexity,
                                  signs.prototypes));
  if (signs.prototypes >= 2 && signs.teacher_entropy > 0.999 * std::log(static_cast<double>(signs.prototypes)) && signs.kl < 0.001)
    reasons.push_back(fmt::format("the output is uniform (teacher entropy {:.4f} of log K = {:.4f}, KL {:.5f})", signs.teacher_entropy,
                                  std::log(static_cast<double>(signs.prototypes)), signs.kl));
  if (reasons.empty()) return std::nullopt;
  return fmt::format("collapse: {}", fmt::join(reasons, "; "));
}

}  // namespace dinoxx
