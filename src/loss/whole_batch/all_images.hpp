#pragma once
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_common.hpp"

/// What losses share that compare channels over the images of all ranks.
namespace dinoxx::loss_common {

/// Rows of a rank [V, B, D] -> those of all ranks [V, N, D], in float32 at least; differentiable (gather.hpp). Collective.
inline at::Tensor of_all_images(const at::Tensor& z, Communicator& comm) {
  return gather_rows(z.to(wide_type(z)).transpose(0, 1).contiguous(), comm).transpose(0, 1);
}

/// Error, about `loss`, for other than two views [2, B, D] of at least two images over all ranks.
inline void check_two_views(const char* loss, const at::Tensor& z, Communicator& comm) {
  if (z.dim() != 3 || z.size(0) != 2 || z.size(1) * comm.size() < 2 || z.size(2) < 1)
    fail(loss, "two views of at least two images over all ranks, [2, B, D]",
         fmt::format("[{}] on each of {} rank(s)", fmt::join(z.sizes(), ", "), comm.size()), "One image has no statistics");
}

/// x and y [..., N, D] -> [...]: the sum over channels i != j of (x_i . y_j)^2, products over the N rows. Where N < D the sum over all i
/// and j is that of the products of X X^T and Y Y^T, so that [D, D] never exists.
inline at::Tensor squares_off_diagonal(const at::Tensor& x, const at::Tensor& y) {
  const at::Tensor of_itself = (x * y).sum(-2).square().sum(-1);
  const at::Tensor all = x.size(-2) < x.size(-1) ? (at::matmul(x, x.transpose(-2, -1)) * at::matmul(y, y.transpose(-2, -1))).sum({-2, -1})
                                                 : at::matmul(x.transpose(-2, -1), y).square().sum({-2, -1});
  return all - of_itself;
}

}  // namespace dinoxx::loss_common
