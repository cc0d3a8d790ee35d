#include "dinoxx/loss/sinkhorn.hpp"

#include <ATen/ATen.h>

#include "column_sums.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/gpu/prototype_cuda.hpp"

// With c the prototypes' factors and r the samples', Q_ij = r_i exp(l_ij / T) c_j. Writing S_j for a sum over the samples of all ranks:
//   first prototype step: 1 / c_j = S_j = sum_i exp(l_ij / T), in logarithms;
//   sample step:          r_i makes row i sum to one: P_i = softmax((l_i - centre) / T), centre = -T log c;
//   prototype step:       c_j is divided by S_j = sum_i P_ij, so centre_j grows by T log S_j.
// The constants (the total, 1 / K, 1 / B) shift all centres alike and leave with the next softmax. After a prototype step every column of Q
// holds 1 / K of the total mass; the sample step then enlarges each row (no row holds more than all), so S_j >= 1 / K: no logarithm of 0.
namespace dinoxx {
namespace {

// A log-sum-exp is top + log sums, 0 where there are no samples at all.

/// With the maximum over all ranks.
void rescale(at::Tensor& sums, const at::Tensor& own_top, const at::Tensor& top) {
  if (loss_cuda::takes({sums})) return loss_cuda::rescale(sums, own_top, top);
  sums.mul_((own_top - top).exp_());
}

at::Tensor first_centre(const at::Tensor& top, const at::Tensor& sums, double temp) {
  if (loss_cuda::takes({sums})) return loss_cuda::first_centre(top, sums, temp);
  return at::where(sums == 0, at::zeros_like(sums), (top + sums.log()) * temp);
}

void next_centre(at::Tensor& centre, const at::Tensor& sums, double temp) {
  if (loss_cuda::takes({sums})) return loss_cuda::next_centre(centre, sums, temp);
  centre.add_(at::where(sums == 0, at::zeros_like(sums), sums.log()), temp);
}

}  // namespace

at::Tensor sinkhorn_centre(const Scores& logits, double temp, int iterations, Communicator& comm) {
  if (logits.dim() != 2 || logits.size(1) < 1)
    fail("Sinkhorn-Knopp", "logits [M, K]", fmt::format("[{}]", fmt::join(logits.sizes(), ", ")), "Give views and images as one dimension");
  if (!(temp > 0) || iterations < 1)
    fail("Sinkhorn-Knopp", "a positive temperature and at least one iteration", fmt::format("{} and {}", temp, iterations),
         "Correct the configuration");
  at::NoGradGuard no_grad;
  const Scores rows = logits.detach();
  Communicator& others = logits.shards() ? *logits.shards()->fellows : comm;  // the ranks of a column's other rows

  auto [top, sums] = loss_columns::log_sum_exp(rows, temp);
  const at::Tensor own_top = top.clone();
  others.all_reduce(top, ReduceOp::kMax)->wait();
  rescale(sums, own_top, top);
  others.all_reduce(sums, ReduceOp::kSum)->wait();
  at::Tensor centre = first_centre(top, sums, temp);

  for (int i = 1; i < iterations; ++i) {
    sums = loss_columns::softmax_sums(rows, centre, temp);
    others.all_reduce(sums, ReduceOp::kSum)->wait();
    next_centre(centre, sums, temp);
  }
  return centre;
}

}  // namespace dinoxx
