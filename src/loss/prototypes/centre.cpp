#include "dinoxx/loss/centre.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "column_sums.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_common.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {

Centre::Centre(int64_t out_dim, double momentum, at::ScalarType dtype) : value_(at::zeros({out_dim}, dtype)), momentum_(momentum) {
  if (!(momentum >= 0.0 && momentum <= 1.0))
    fail_usage("centre momentum", "a value in [0, 1]", fmt::format("{}", momentum), "Correct the configuration");
}

void Centre::update(const at::Tensor& sum, int64_t rows) {
  if (rows < 1 || sum.sizes() != value_.sizes())
    fail("centre update", fmt::format("a sum of {} values over at least one row", value_.numel()),
         fmt::format("[{}] over {} rows", fmt::join(sum.sizes(), ", "), rows), "This is a defect of the program");
  at::NoGradGuard no_grad;
  // by steps, as the published code rounds: centre * m + (sum / rows) * (1 - m)
  value_.mul_(momentum_).add_((sum.to(value_.scalar_type()) / static_cast<double>(rows)).mul_(1.0 - momentum_));
}

CentreSum centre_sum(const Scores& logits) {
  if (logits.dim() != 2)
    fail("centre sum", "logits [M, K]", fmt::format("[{}]", fmt::join(logits.sizes(), ", ")), "This is a defect of the program");
  at::NoGradGuard no_grad;
  return {loss_columns::weighted_sums(logits.detach(), {}), logits.size(0)};
}

CentreSum centre_sum_by_group(const Scores& logits, const at::Tensor& row_slot, int64_t group_size) {
  if (logits.dim() != 2 || row_slot.dim() != 1 || row_slot.size(0) != logits.size(0) || row_slot.scalar_type() != at::kLong ||
      group_size < 1)
    fail("centre sum by group", "logits [M, K], an int64 slot for each row [M] and groups of at least one slot",
         fmt::format("[{}], {} [{}] and {}", fmt::join(logits.sizes(), ", "), c10::toString(row_slot.scalar_type()),
                     fmt::join(row_slot.sizes(), ", "), group_size),
         "This is a defect of the program");
  at::NoGradGuard no_grad;
  const at::TensorOptions options = logits.rows().options().dtype(loss_common::wide_type(logits.rows()));
  CentreSum result{at::zeros({logits.size(1)}, options), 0};
  if (logits.size(0) == 0) return result;
  // on the host, where the slots come from: how many groups there are is a size, and a GPU would be waited for
  const at::Tensor group = row_slot.cpu().div(group_size, "floor");
  const at::Tensor counts = at::bincount(group);
  const at::Tensor weight = counts.index_select(0, group).to(options.dtype().toScalarType()).reciprocal_();  // of each row
  result.rows = counts.count_nonzero().item<int64_t>();
  result.sum = loss_columns::weighted_sums(logits.detach(), to_device(weight, logits.device()));
  return result;
}

}  // namespace dinoxx
