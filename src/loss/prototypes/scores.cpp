#include "dinoxx/loss/scores.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "ops/ops.hpp"

namespace dinoxx {

std::vector<int64_t> Scores::sizes() const {
  std::vector<int64_t> sizes = rows_.sizes().vec();
  if (prototypes_.defined() && !sizes.empty()) sizes.back() = prototypes_.size(0);
  return sizes;
}

int64_t Scores::size(int64_t dim) const {
  const std::vector<int64_t> all = sizes();
  return all[static_cast<size_t>(dim < 0 ? dim + rows_.dim() : dim)];
}

Scores Scores::detach() const {
  Scores detached = *this;
  detached.rows_ = rows_.detach();
  if (prototypes_.defined()) detached.prototypes_ = prototypes_.detach();
  return detached;
}

Scores Scores::flatten() const {
  Scores flat = *this;
  flat.rows_ = rows_.flatten(0, -2);
  return flat;
}

at::Tensor Scores::part(int64_t dim, int64_t begin, int64_t count) const {
  const at::Tensor rows = count == rows_.size(dim) ? rows_ : rows_.narrow(dim, begin, count);
  if (!prototypes_.defined()) return rows.contiguous();
  const at::NoGradGuard no_grad;
  return ops::linear(rows.contiguous(), prototypes_, {});
}

int64_t Scores::indices_at_once(int64_t dim) const {
  const int64_t indices = std::max<int64_t>(rows_.size(dim), 1);
  if (!prototypes_.defined() || rows_at_once_ < 1) return indices;
  const int64_t rows_of_index = rows_.numel() / rows_.size(-1) / indices;
  return std::clamp<int64_t>(rows_at_once_ / std::max<int64_t>(rows_of_index, 1), 1, indices);
}

}  // namespace dinoxx
