#include "columns.hpp"

#include <ATen/ATen.h>

#include "fused.hpp"
#include "ops.hpp"
#include "pool.hpp"
#include "profile.hpp"

namespace dinoxx::ops {
namespace {

bool in_columns(const at::Tensor& x) {
  return x.dim() == 2 ? x.is_contiguous() : x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

struct Shape {
  int64_t dim, rows;
  explicit Shape(const at::Tensor& x) : dim(x.size(1)), rows(x.numel() / x.size(1)) {}
};

const void* data_or_null(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr() : nullptr;
}

at::Tensor like(const at::Tensor& x) {
  if (x.dim() == 2) return pooled_empty(x.sizes(), x.scalar_type());
  return pooled_empty({x.size(0), x.size(2), x.size(3), x.size(1)}, x.scalar_type()).permute({0, 3, 1, 2});
}

}  // namespace

bool has_column_kernels(const at::Tensor& x) {
  return fused() && cpu::supported({x}) && in_columns(x);
}

Moments column_moments(const at::Tensor& x) {
  const ProfileScope scope(Phase::kColumns);
  const Shape shape(x);
  const int64_t chunks = cpu::row_chunks(shape.rows), dim = shape.dim;
  PooledFloats partial(chunks * 2 * dim);
  const ColumnMoments args{x.const_data_ptr(), partial.get(), shape.rows, dim};
  cpu::for_row_chunks(shape.rows, [&](int64_t begin, int64_t end) { kernel_set(cpu::is_bf16(x)).column_moments(args, begin, end); });

  // the chunks' moments by their deviations from the common mean (Chan et al. 1979)
  Moments out{at::zeros({dim}, at::kDouble), at::zeros({dim}, at::kDouble)};
  double *mean = out.mean.data_ptr<double>(), *variance = out.variance.data_ptr<double>();
  const auto rows_of = [&](int64_t c) { return static_cast<double>(std::min(kRowChunk, shape.rows - c * kRowChunk)); };
  const auto total = static_cast<double>(shape.rows);
  for (int64_t c = 0; c < chunks; ++c)
    for (int64_t j = 0; j < dim; ++j) mean[j] += rows_of(c) / total * partial.get()[2 * c * dim + j];
  for (int64_t c = 0; c < chunks; ++c) {
    for (int64_t j = 0; j < dim; ++j) {
      const double apart = partial.get()[2 * c * dim + j] - mean[j];
      variance[j] += (partial.get()[(2 * c + 1) * dim + j] + rows_of(c) * apart * apart) / total;
    }
  }
  return out;
}

at::Tensor map_columns(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& scale, const at::Tensor& shift,
                       const at::Tensor& residual, bool relu) {
  const ProfileScope scope(Phase::kColumns);
  const Shape shape(x);
  const at::Tensor m = cpu::as_floats(mean), a = cpu::as_floats(scale), b = cpu::as_floats(shift), y = like(x);
  const ColumnMap args{x.const_data_ptr(),
                       m.const_data_ptr<float>(),
                       a.const_data_ptr<float>(),
                       b.const_data_ptr<float>(),
                       data_or_null(residual),
                       relu,
                       y.data_ptr(),
                       shape.rows,
                       shape.dim};
  cpu::for_row_chunks(shape.rows, [&](int64_t begin, int64_t end) { kernel_set(cpu::is_bf16(x)).column_map(args, begin, end); });
  return y;
}

at::Tensor column_gradient_sums(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& x, const at::Tensor& mean) {
  const ProfileScope scope(Phase::kColumns);
  const Shape shape(x);
  const int64_t chunks = cpu::row_chunks(shape.rows), dim = shape.dim;
  const at::Tensor m = cpu::as_floats(mean), out = at::zeros({2, dim}, at::kDouble);
  PooledFloats partial(chunks * 2 * dim);
  ColumnGradient args{};
  args.dy = dy.const_data_ptr();
  args.y = data_or_null(y);
  args.x = x.const_data_ptr();
  args.mean = m.const_data_ptr<float>();
  args.partial = partial.get();
  args.rows = shape.rows;
  args.dim = dim;
  cpu::for_row_chunks(shape.rows, [&](int64_t begin, int64_t end) { kernel_set(cpu::is_bf16(x)).column_gradient_sums(args, begin, end); });
  double* sums = out.data_ptr<double>();
  for (int64_t c = 0; c < chunks; ++c)
    for (int64_t j = 0; j < 2 * dim; ++j) sums[j] += partial.get()[2 * c * dim + j];
  return out;
}

ColumnGradients column_gradient(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& x, const at::Tensor& mean,
                                const at::Tensor& of_g, const at::Tensor& of_x, const at::Tensor& of_1, bool of_residual) {
  const ProfileScope scope(Phase::kColumns);
  const Shape shape(x);
  const at::Tensor m = cpu::as_floats(mean), g = cpu::as_floats(of_g), k = cpu::as_floats(of_x), one = cpu::as_floats(of_1);
  ColumnGradients out{like(x), of_residual && y.defined() ? like(x) : at::Tensor()};
  ColumnGradient args{};
  args.dy = dy.const_data_ptr();
  args.y = data_or_null(y);
  args.x = x.const_data_ptr();
  args.mean = m.const_data_ptr<float>();
  args.of_g = g.const_data_ptr<float>();
  args.of_x = k.const_data_ptr<float>();
  args.of_1 = one.const_data_ptr<float>();
  args.dx = out.x.data_ptr();
  args.dresidual = out.residual.defined() ? out.residual.data_ptr() : nullptr;
  args.rows = shape.rows;
  args.dim = shape.dim;
  cpu::for_row_chunks(shape.rows, [&](int64_t begin, int64_t end) { kernel_set(cpu::is_bf16(x)).column_gradient(args, begin, end); });
  return out;
}

}  // namespace dinoxx::ops
