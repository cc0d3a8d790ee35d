// The local rate of LARS, one formula for the CPU and the kernel.
#pragma once
#include <cmath>

#ifdef __CUDACC__
#define DINOXX_HOST_DEVICE __host__ __device__
#else
#define DINOXX_HOST_DEVICE
#endif

namespace dinoxx::optim_detail {

/// See LarsConfig.
struct LarsRule {
  double trust = 0;
  bool sum = false, clip_lr = false;
};
/// What one segment is updated with: v = momentum v + q (g + wd p), p -= lr v.
struct Update {
  double q = 1, weight_decay = 0, lr = 0;
};

/// Of a segment that adapts: weights = |p|^2; gradients = |g|^2 with rule.sum, else |g + wd p|^2.
DINOXX_HOST_DEVICE inline Update lars_update(const LarsRule& rule, double lr, double weight_decay, double weights, double gradients) {
  constexpr double kSumEps = 1e-8;
  Update update;
  update.lr = lr;
  update.weight_decay = weight_decay;
  const double p = sqrt(weights), g = sqrt(gradients);
  if (p == 0 || g == 0) {
    if (rule.sum) update.weight_decay = 0;
    return update;
  }
  update.q = rule.trust * p / (rule.sum ? g + p * weight_decay + kSumEps : g);
  // at rate 0, where a warm-up begins, what it tends to
  if (rule.clip_lr) {
    const double share = lr > 0 ? update.q / lr : 1.0;
    update.q = share > 1.0 ? 1.0 : share;
  }
  return update;
}

}  // namespace dinoxx::optim_detail
