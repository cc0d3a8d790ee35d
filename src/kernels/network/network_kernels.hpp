#pragma once
#include <cstdint>

#include "kernels/cpu_level.hpp"

/// The fused CPU kernels behind ops.hpp: plain pointers, one table per instruction set and element type, chosen at run time. Sizes are in
/// elements. `T*` is float* or bfloat16*, passed as void*; statistics, biases, scales and partial sums are float.
///
/// Sums over rows are made per chunk of kRowChunk rows (attention: kSampleChunk samples) into their own row of `partial` and then added in
/// order of the chunks, so that results do not depend on the number of threads.
namespace dinoxx::ops {

constexpr int64_t kRowChunk = 64;
constexpr int64_t kSampleChunk = 8;

/// What happens to a finished element v of a matrix product, in column j of row i.
enum class Epilogue {
  kBias,      ///< c = v + bias_j
  kGelu,      ///< c = gelu(v + bias_j), aux = gelu'(v + bias_j) if aux is given
  kResidual,  ///< c = residual + scale_(i / rows_per_scale) * (v + bias_j)
  kMultiply,  ///< c = v * aux, column sums of c into `column_sums` (one row per chunk of rows)
};

struct EpilogueArgs {
  Epilogue kind = Epilogue::kBias;
  void* c = nullptr;  ///< T [m, n]
  int64_t ldc = 0;
  const float* bias = nullptr;     ///< [n] or null for 0
  void* aux = nullptr;             ///< T [m, n]
  const void* residual = nullptr;  ///< T [m, n]
  const float* scale = nullptr;    ///< per group of rows, or null for 1
  int64_t rows_per_scale = 1;
};

struct LayerNormForward {
  const void* x;
  const float *weight, *bias;
  void* y;
  float *mean, *rstd;  ///< [rows]
  int64_t rows, dim;
  float eps;
};

struct LayerNormBackward {
  const void *dy, *x;
  const float *mean, *rstd, *weight;
  const void* residual;  ///< T [rows, dim] added to dx, or null
  void* dx;
  const float* scale;  ///< per group of rows: `scaled` = scale * dx; null for none
  int64_t rows_per_scale;
  void* scaled;    ///< T [rows, dim] or null
  float* partial;  ///< [chunks, 3, dim]: dweight, dbias, column sums of the scaled dx
  int64_t rows, dim;
};

struct ScaleRows {
  const void* x;
  const float* scale;  ///< or null for 1
  int64_t rows_per_scale;
  void* y;         ///< scale * x, or null when only the column sums are wanted
  float* partial;  ///< [chunks, dim]
  int64_t rows, dim;
};

struct Attention {
  const void* qkv;  ///< T [B, N, 3, heads, head_dim]
  void* out;        ///< T [B, N, heads, head_dim]
  int64_t tokens, heads, head_dim;
};

struct AttentionBackward {
  const void *qkv, *dout;
  void* dqkv;
  float* partial;  ///< [chunks of samples, 3 * heads * head_dim]: column sums of dqkv
  int64_t samples, tokens, heads, head_dim;
};

/// Batch normalisation: rows are images and positions, columns channels.
struct ColumnMoments {
  const void* x;
  float* partial;  ///< [chunks, 2, dim]: mean and sum of squared deviations from it
  int64_t rows, dim;
};

/// y = (x - mean) scale + shift + residual, of which the rectifier leaves what is above 0.
struct ColumnMap {
  const void* x;
  const float *mean, *scale, *shift;  ///< [dim]
  const void* residual;               ///< T [rows, dim] or null
  bool relu;
  void* y;
  int64_t rows, dim;
};

/// With g the gradient dy where y is above 0, all of it without y: its sums, or dx = of_g g + of_x (x - mean) + of_1 and dresidual = g.
struct ColumnGradient {
  const void *dy, *y, *x;
  const float* mean;
  float* partial;                   ///< sums: [chunks, 2, dim], of g and g (x - mean)
  const float *of_g, *of_x, *of_1;  ///< [dim]
  void *dx, *dresidual;             ///< the latter or null
  int64_t rows, dim;
};

struct KernelSet {
  CpuLevel level;
  /// rows [begin, end); begin is a multiple of kRowChunk
  void (*layer_norm)(const LayerNormForward&, int64_t begin, int64_t end);
  void (*layer_norm_backward)(const LayerNormBackward&, int64_t begin, int64_t end);
  void (*scale_rows)(const ScaleRows&, int64_t begin, int64_t end);
  void (*column_moments)(const ColumnMoments&, int64_t begin, int64_t end);
  void (*column_map)(const ColumnMap&, int64_t begin, int64_t end);
  void (*column_gradient_sums)(const ColumnGradient&, int64_t begin, int64_t end);
  void (*column_gradient)(const ColumnGradient&, int64_t begin, int64_t end);
  void (*gelu)(const void* x, void* y, int64_t n);
  void (*gelu_backward)(const void* dy, const void* x, void* dx, int64_t n);
  /// [begin, end) of samples x heads, the head running fastest; workspace of attention_workspace() floats
  void (*attention)(const Attention&, int64_t begin, int64_t end, float* workspace);
  /// [begin, end) of chunks of kSampleChunk samples x heads, the head running fastest
  void (*attention_backward)(const AttentionBackward&, int64_t begin, int64_t end, float* workspace);
  int64_t (*attention_workspace)(int64_t tokens, int64_t head_dim);
  /// Epilogue over rows [begin, end), columns [0, n), of a float matrix v; column_sums [n] are added to.
  void (*epilogue)(const EpilogueArgs&, const float* v, int64_t ldv, int64_t begin, int64_t end, int64_t n, float* column_sums);
};

/// The table for cpu_level(); `bf16` selects the element type.
const KernelSet& kernel_set(bool bf16);

}  // namespace dinoxx::ops
