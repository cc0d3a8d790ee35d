#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "gemm.hpp"
#include "kernels/network/network_kernels.hpp"
#include "ops/ops.hpp"

/// The operations of ops.hpp on fused CPU kernels, float32 or bfloat16, with hand-written backward passes, and the steps they share.
namespace dinoxx::ops::cpu {

/// CPU, float32 or bfloat16, all of one type.
bool supported(std::initializer_list<at::Tensor> tensors);
/// Tokens above which attention goes to ATen's flash kernel: the own one keeps whole rows of probabilities in cache.
constexpr int64_t kMaxTokens = 320;

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
at::Tensor linear_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
at::Tensor gelu(const at::Tensor& x);
at::Tensor attention(const at::Tensor& qkv, int heads);
at::Tensor transformer_block(const at::Tensor& x, const BlockWeights& weights, int heads, double eps, const at::Tensor& s1,
                             const at::Tensor& s2, bool attention_again);

/// The backward passes here are not differentiable themselves: an error when a graph of them is asked for. First line of each.
void refuse_second_derivative();

// ---- shared steps; x, y, g are contiguous; float vectors are float32 whatever the element type

inline int64_t row_chunks(int64_t rows) {
  return (rows + kRowChunk - 1) / kRowChunk;
}
/// f(begin, end) over rows, cut at multiples of kRowChunk.
template <class F>
void for_row_chunks(int64_t rows, const F& f) {
  at::parallel_for(0, row_chunks(rows), 1, [&](int64_t begin, int64_t end) { f(begin * kRowChunk, std::min(rows, end * kRowChunk)); });
}
inline bool is_bf16(const at::Tensor& t) {
  return t.scalar_type() == at::kBFloat16;
}
at::Tensor empty_as(const at::Tensor& like, at::IntArrayRef sizes);
/// float32, contiguous; undefined stays undefined.
at::Tensor as_floats(const at::Tensor& t);
/// A node's input that may be absent: autograd takes no undefined tensor.
inline std::optional<at::Tensor> maybe(const at::Tensor& t) {
  return t.defined() ? std::optional<at::Tensor>(t) : std::nullopt;
}
inline const float* floats_or_null(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr<float>() : nullptr;
}

struct Norm {
  at::Tensor y, mean, rstd;  ///< like x; [rows] float
};
Norm run_layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);
struct NormGrads {
  at::Tensor x, scaled;                  ///< scaled = scale * x, the same tensor where no scale is given
  at::Tensor weight, bias, column_sums;  ///< float [dim]; column sums of `scaled`
};
/// residual (added to the gradient of x) and scale [rows / rows_per_scale] may be undefined.
NormGrads run_layer_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd,
                                  const at::Tensor& weight, const at::Tensor& residual, const at::Tensor& scale, int64_t rows_per_scale);
struct Scaled {
  at::Tensor x, column_sums;
};
/// scale may be undefined (1): then x itself comes back.
Scaled run_scale_rows(const at::Tensor& x, const at::Tensor& scale, int64_t rows_per_scale);

/// y [rows, out] = epilogue(x [rows, in] weight^T); out.c and out.ldc are set here.
void run_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y, EpilogueArgs out);
/// dx = epilogue(dy weight).
void run_linear_input_grad(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx, EpilogueArgs out,
                           float* column_sums = nullptr);
/// dy^T x, in the type of x.
at::Tensor run_linear_weight_grad(const at::Tensor& dy, const at::Tensor& x);

at::Tensor run_attention(const at::Tensor& qkv, int64_t heads);
/// dqkv and its column sums.
Scaled run_attention_backward(const at::Tensor& qkv, const at::Tensor& dout, int64_t heads);

}  // namespace dinoxx::ops::cpu
