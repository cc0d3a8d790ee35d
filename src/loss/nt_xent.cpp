#include "dinoxx/loss/nt_xent.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <limits>

#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

namespace dinoxx {

at::Tensor nt_xent(const at::Tensor& z, double temp, Communicator& comm) {
  if (z.dim() != 3 || z.size(0) != 2 || z.size(1) * comm.size() < 2)
    fail("NT-Xent", "two views of at least two images over all ranks, [2, B, D]",
         fmt::format("[{}] on each of {} rank(s)", fmt::join(z.sizes(), ", "), comm.size()), "One image has nothing to be told apart from");
  if (!(temp > 0)) fail("NT-Xent", "a positive temperature", fmt::format("{}", temp), "Correct the temperature");
  const int64_t batch = z.size(1), first = comm.rank() * 2 * batch;  // of this rank's rows among all, which lie [rank][view][image]
  const at::Tensor own = loss_common::normalized(z.reshape({2 * batch, z.size(2)}));
  at::Tensor logits = at::matmul(own, gather_rows(own, comm).t()) / temp;  // [2 B, 2 N]
  logits.diagonal(first).fill_(-std::numeric_limits<double>::infinity());
  const at::Tensor other_view = (at::arange(2 * batch, z.options().dtype(at::kLong)) + batch).remainder_(2 * batch).add_(first);
  return at::cross_entropy_loss(logits, other_view);
}

}  // namespace dinoxx
