#include "gemm.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "pool.hpp"
#include "profile.hpp"

namespace dinoxx::ops {
namespace {

void add_rows(const float* rows, int64_t count, int64_t n, float* out) {
  std::fill_n(out, n, 0.0f);
  for (int64_t r = 0; r < count; ++r)
    for (int64_t j = 0; j < n; ++j) out[j] += rows[r * n + j];
}

/// MKL or oneDNN through ATen, then the epilogue row by row.
void gemm_by_aten(bool bf16, const Gemm& g, float* column_sums) {
  const auto options = at::TensorOptions(bf16 ? at::kBFloat16 : at::kFloat);
  const auto a = at::from_blob(const_cast<void*>(g.a), {g.m, g.k}, {g.a_row, g.a_k}, options);
  const auto b = at::from_blob(const_cast<void*>(g.b), {g.k, g.n}, {g.b_k, g.b_col}, options);
  const auto product = at::mm(a, b).to(at::kFloat);
  const float* v = product.const_data_ptr<float>();
  const int64_t chunks = (g.m + kRowChunk - 1) / kRowChunk;
  PooledFloats sums(column_sums ? chunks * g.n : 1);
  if (column_sums) std::fill_n(sums.get(), chunks * g.n, 0.0f);
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      kernel_set(bf16).epilogue(g.out, v, g.n, c * kRowChunk, std::min(g.m, (c + 1) * kRowChunk), g.n,
                                column_sums ? sums.get() + c * g.n : nullptr);
  });
  if (column_sums) add_rows(sums.get(), chunks, g.n, column_sums);
}

}  // namespace

void gemm(bool bf16, const Gemm& g, float* column_sums) {
  at::NoGradGuard no_grad;
  const ProfileScope scope(Phase::kGemm, 2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k));
  const GemmKernels* kernels = gemm_kernels(bf16);
  if (!kernels) return gemm_by_aten(bf16, g, column_sums);
  const int64_t panels = kernels->panels(g), row_chunk = kernels->row_chunk(g), chunks = (g.m + row_chunk - 1) / row_chunk;
  PooledFloats packed(kernels->packed_b_size(g));
  at::parallel_for(0, panels, std::max<int64_t>(1, 65536 / (32 * std::max<int64_t>(1, g.k))),
                   [&](int64_t begin, int64_t end) { kernels->pack_b(g, packed.get(), begin, end); });
  PooledFloats sums(column_sums ? chunks * g.n : 1);
  if (column_sums) std::fill_n(sums.get(), chunks * g.n, 0.0f);
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    PooledFloats workspace(kernels->workspace_size(g));
    for (int64_t c = begin; c < end; ++c) {
      const int64_t row = c * row_chunk;
      kernels->run(g, packed.get(), workspace.get(), row, std::min(g.m, row + row_chunk), column_sums ? sums.get() + c * g.n : nullptr);
    }
  });
  if (column_sums) add_rows(sums.get(), chunks, g.n, column_sums);
}

}  // namespace dinoxx::ops
