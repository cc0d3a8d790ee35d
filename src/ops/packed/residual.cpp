#include "residual.hpp"

namespace dinoxx::ops {

Residual run_residual_norm(const at::Tensor& x, const PackedRows& rows, const at::Tensor& branch, const PackedBranch& from,
                           const at::Tensor& weight, const at::Tensor& bias, double eps, const PackedBranch& to) {
  const int64_t dim = x.size(1);
  cuda::ResidualNorm work;
  work.bf16 = holds_bf16(x);
  work.dim = static_cast<int>(dim);
  work.rows = groups_of(rows);
  work.x = data(x);
  Residual out;
  out.z = x;
  if (branch.defined()) {
    out.z = empty_rows(x.size(0), dim, x);
    work.branch = data(branch);
    work.from = branch_of(rows, from);
    work.z = out.z.data_ptr();
  }
  if (weight.defined()) {
    const int64_t normed = running_rows(rows, to).rows();
    out.y = empty_rows(normed, dim, x);
    out.statistics = {empty_floats({normed}, x), empty_floats({normed}, x)};
    work.to = branch_of(rows, to);
    work.weight = data(weight);
    work.bias = data(bias);
    work.eps = static_cast<float>(eps);
    work.y = out.y.data_ptr();
    work.mean = floats(out.statistics.mean);
    work.rstd = floats(out.statistics.rstd);
  }
  check_launch(cuda::launch_residual_norm(work, current_stream()), "residual and LayerNorm");
  return out;
}

ResidualGrads run_residual_norm_backward(const at::Tensor& dz, bool owned, const at::Tensor& dy, const PackedRows& rows,
                                         const at::Tensor& z, const Statistics& statistics, const at::Tensor& weight,
                                         const PackedBranch& to, const PackedBranch* from, PendingTotals& totals) {
  const int64_t dim = z.size(1), count = rows.rows();
  cuda::ResidualNormBackward work;
  work.bf16 = holds_bf16(z);
  work.dim = static_cast<int>(dim);
  work.rows = groups_of(rows);
  work.dz = data(dz);
  ResidualGrads out;
  out.x = dz;
  if (dy.defined() || !dz.defined()) {
    if (!dz.defined() || !owned) out.x = empty_rows(count, dim, z);
    work.dx = out.x.data_ptr();
  }
  if (dy.defined()) {
    work.dy = data(dy);
    work.to = branch_of(rows, to);
    work.z = data(z);
    work.weight = data(weight);
    work.mean = floats(statistics.mean);
    work.rstd = floats(statistics.rstd);
  }
  if (from) {
    work.from = branch_of(rows, *from);
    out.branch = out.x;
    if (!runs_for_all_alike(*from)) {
      out.branch = empty_rows(running_rows(rows, *from).rows(), dim, z);
      work.dbranch = out.branch.data_ptr();
    }
  }
  const at::Tensor partial = empty_floats({cuda::residual_norm_blocks(count, work.dim, work.bf16), 3 * dim}, z);
  work.partial = floats(partial);
  check_launch(cuda::launch_residual_norm_backward(work, current_stream()), "backward of residual and LayerNorm");
  out.sums = totals.add(partial);
  return out;
}

}  // namespace dinoxx::ops
