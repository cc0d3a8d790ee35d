// Passes over tokens as rows of one matrix on a GPU: residual with LayerNorm, GELU, SwiGLU, rotary positions, LayerScale, their backward
// passes and the sums over rows that gradients of biases are. Behind raw pointers: the .cu file includes no LibTorch header.
//
// Elements are float32 or bfloat16 (`bf16`), statistics and sums float32. Widths are multiples of a 16-byte vector (4 or 8 elements), at
// most kMaxDim; pointers to elements are aligned to 16 bytes. Sums are made in a fixed order. `partial` is scratch memory; column_totals
// adds it up.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace dinoxx::ops::cuda {

constexpr int kMaxGroups = 8;
constexpr int kMaxDim = 4096;  ///< of rows that are normalised

/// Crops of several sizes, one group behind the other: group i has samples [first_sample[i], first_sample[i + 1]) of tokens[i] rows each,
/// from row first_row[i] on.
struct RowGroups {
  int count = 0;
  int64_t first_row[kMaxGroups + 1] = {};
  int first_sample[kMaxGroups + 1] = {};
  int tokens[kMaxGroups] = {};
};

/// Which samples a residual branch runs for, and its gain. All pointers null: for all, gain 1.
struct Branch {
  RowGroups rows;               ///< of the samples that run
  const int* slot = nullptr;    ///< [samples] place among those that run, or -1
  const float* gain = nullptr;  ///< [samples]
};

/// z = x + gain * branch; y = LayerNorm(z) for the samples of `to`.
struct ResidualNorm {
  bool bf16 = false;
  int dim = 0;
  RowGroups rows;
  const void* x = nullptr;       ///< [rows, dim]
  const void* branch = nullptr;  ///< [rows of from, dim]; null: z is x, and is not written
  Branch from;
  void* z = nullptr;  ///< [rows, dim]
  Branch to;
  const void *weight = nullptr, *bias = nullptr;  ///< [dim]
  float eps = 0;
  void* y = nullptr;                       ///< [rows of to, dim]; null: no LayerNorm
  float *mean = nullptr, *rstd = nullptr;  ///< [rows of to]
};
cudaError_t launch_residual_norm(const ResidualNorm& work, cudaStream_t stream);

/// g = dz + the gradient of z through LayerNorm; dbranch = gain * g for the samples of `from`.
struct ResidualNormBackward {
  bool bf16 = false;
  int dim = 0;
  RowGroups rows;
  const void* dz = nullptr;  ///< [rows, dim]; null: 0
  const void* dy = nullptr;  ///< [rows of to, dim]; null: no LayerNorm
  Branch to;
  const void *z = nullptr, *weight = nullptr;
  const float *mean = nullptr, *rstd = nullptr;
  void* dx = nullptr;  ///< [rows, dim], may be dz; null: not written
  Branch from;
  void* dbranch = nullptr;  ///< [rows of from, dim]; null: not written
  float* partial =
      nullptr;  ///< [residual_norm_blocks, 3 * dim]: gradients of weight and bias, sum of dbranch (of g where all run at gain 1)
};
int residual_norm_blocks(int64_t rows, int dim, bool bf16);
cudaError_t launch_residual_norm_backward(const ResidualNormBackward& work, cudaStream_t stream);

/// y = gelu(u), exact. n elements.
cudaError_t launch_gelu(bool bf16, const void* u, void* y, int64_t n, cudaStream_t stream);
/// y [rows, hidden] = silu(x[:, :hidden]) * x[:, hidden:].
cudaError_t launch_swiglu(bool bf16, const void* x, void* y, int64_t rows, int hidden, cudaStream_t stream);

/// Chunks of rows in which the passes below add up columns: partial [column_chunks, columns].
int column_chunks(int64_t rows, int columns, bool bf16);
/// du = dy * gelu'(u), and its sums over rows.
cudaError_t launch_gelu_backward(bool bf16, const void* dy, const void* u, void* du, float* partial, int64_t rows, int columns,
                                 cudaStream_t stream);
/// dx [rows, 2 hidden], and its sums over rows.
cudaError_t launch_swiglu_backward(bool bf16, const void* dy, const void* x, void* dx, float* partial, int64_t rows, int hidden,
                                   cudaStream_t stream);

/// Rotary positions of each group's patches: tables [tokens - prefix, head_dim / 2]; null: the group is not rotated.
struct Rotary {
  int heads = 0, head_dim = 0, prefix = 0;
  const float *cos[kMaxGroups] = {}, *sin[kMaxGroups] = {};
};
/// Queries and keys of qkv [rows, 3 * heads * head_dim] in place.
cudaError_t launch_rotate(bool bf16, void* qkv, const RowGroups& rows, const Rotary& rotary, cudaStream_t stream);
/// dqkv [rows, 3 * dim] of the gradients of rotated queries, keys and values, and its sums over rows.
struct QkvGrad {
  bool bf16 = false;
  RowGroups rows;
  Rotary rotary;
  const void* grad[kMaxGroups][3] = {};   ///< [samples, heads, tokens, head_dim]; null: 0
  int64_t stride[kMaxGroups][3][3] = {};  ///< of sample, head and token, in elements: multiples of a vector
  void* dqkv = nullptr;
  float* partial = nullptr;
};
cudaError_t launch_qkv_grad(const QkvGrad& work, cudaStream_t stream);

/// cos and sin [sets, rows * columns, 2 * quarter] of the angles of a grid of patches. centres [sets, rows + columns]: of rows, then of
/// columns; frequency [quarter].
cudaError_t launch_rotary_tables(const double* centres, const double* frequency, float* cos, float* sin, int sets, int rows, int columns,
                                 int quarter, cudaStream_t stream);

/// out [n], of the element type, = the sum of `count` rows of partial, which are `stride` floats apart.
struct Totals {
  const float* partial = nullptr;
  int count = 0, n = 0;
  int64_t stride = 0;
  void* out = nullptr;
};
constexpr int kMaxTotals = 8;
cudaError_t launch_column_totals(bool bf16, const Totals* totals, int count, cudaStream_t stream);

/// LayerScale and a masked key bias as part of the layers around them: weight_out = diag(gamma) weight, bias_out = gamma * bias;
/// qkv_bias_out is qkv_bias with zeros for the keys.
struct Fold {
  static constexpr int kParts = 2;
  struct Part {
    const void *gamma = nullptr, *weight = nullptr, *bias = nullptr;  ///< [rows], [rows, columns], [rows] or null
    void *weight_out = nullptr, *bias_out = nullptr;
    int rows = 0, columns = 0;
  };
  bool bf16 = false;
  Part part[kParts];  ///< rows 0: none
  const void* qkv_bias = nullptr;
  void* qkv_bias_out = nullptr;  ///< [3 * dim]; null: none
  int dim = 0;
};
cudaError_t launch_fold(const Fold& work, cudaStream_t stream);
/// The gradients of gamma, weight, bias and qkv_bias from those of weight_out, bias_out and qkv_bias_out.
struct FoldBackward {
  struct Part {
    const void *gamma = nullptr, *weight = nullptr, *bias = nullptr, *dweight_out = nullptr, *dbias_out = nullptr;
    void *dgamma = nullptr, *dweight = nullptr, *dbias = nullptr;
    int rows = 0, columns = 0;
  };
  bool bf16 = false;
  Part part[Fold::kParts];
  const void* dqkv_bias_out = nullptr;
  void* dqkv_bias = nullptr;
  int dim = 0;
};
cudaError_t launch_fold_backward(const FoldBackward& work, cudaStream_t stream);

}  // namespace dinoxx::ops::cuda
