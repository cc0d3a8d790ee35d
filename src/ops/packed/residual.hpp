// The passes that hold residuals and LayerNorm, on tensors.
#pragma once
#include "node.hpp"

namespace dinoxx::ops {

/// What a LayerNorm leaves for its backward pass.
struct Statistics {
  at::Tensor mean, rstd;  // [rows that are normalised]
};
struct Residual {
  at::Tensor z, y;
  Statistics statistics;
};
/// z = x + gain * branch (branch undefined: z is x); y = LayerNorm(z) for `to` (weight undefined: none).
Residual run_residual_norm(const at::Tensor& x, const PackedRows& rows, const at::Tensor& branch, const PackedBranch& from,
                           const at::Tensor& weight, const at::Tensor& bias, double eps, const PackedBranch& to);

/// Sums over rows that wait for the one launch that finishes them all.
class PendingTotals {
 public:
  explicit PendingTotals(const at::Tensor& like) : like_(like) {}
  /// `partial` [count, n]; the totals, of the type of `like`, are there after finish().
  at::Tensor add(const at::Tensor& partial) {
    at::Tensor out = at::empty({partial.size(1)}, like_.options().requires_grad(false));
    list_.push_back(
        {floats(partial), static_cast<int>(partial.size(0)), static_cast<int>(partial.size(1)), partial.size(1), out.data_ptr()});
    partials_.push_back(partial);
    return out;
  }
  void finish() {
    check_launch(cuda::launch_column_totals(holds_bf16(like_), list_.data(), static_cast<int>(list_.size()), current_stream()),
                 "column sums");
  }

 private:
  at::Tensor like_;
  std::vector<cuda::Totals> list_;
  std::vector<at::Tensor> partials_;
};

struct ResidualGrads {
  at::Tensor x, branch;
  at::Tensor sums;  // [3 * dim]: LayerNorm's weight and bias, the branch's bias; after the totals are finished
};
/// dz may be undefined (0), and is written over where it is `owned`; dy undefined: no LayerNorm.
ResidualGrads run_residual_norm_backward(const at::Tensor& dz, bool owned, const at::Tensor& dy, const PackedRows& rows,
                                         const at::Tensor& z, const Statistics& statistics, const at::Tensor& weight,
                                         const PackedBranch& to, const PackedBranch* from, PendingTotals& totals);

}  // namespace dinoxx::ops
