#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

/// The blocks of a transformer on a GPU: crops of several sizes as rows of one matrix, and own kernels (token_kernels.hpp) for all that is
/// neither a matrix product nor attention. float32 and bfloat16. Each operation is one autograd node with a hand-written backward pass;
/// its formula is the one of ops.hpp and vit_block.cpp. Functions of a build without CUDA fail; packed_supported says no there.
namespace dinoxx::ops {

/// Groups of samples with equally many tokens each, one group's rows behind the other's.
struct PackedRows {
  std::vector<int64_t> samples, tokens;  ///< of each group
  int64_t rows() const {
    int64_t sum = 0;
    for (size_t i = 0; i < samples.size(); ++i) sum += samples[i] * tokens[i];
    return sum;
  }
};

/// The samples that a residual branch runs for, and its gain. Undefined tensors: for all, gain 1.
struct PackedBranch {
  std::vector<int64_t> samples;  ///< that run, of each group; empty: all
  at::Tensor slot;               ///< int32 [samples of all groups]: place among those that run, or -1
  at::Tensor gain;               ///< float32 [samples of all groups]
};
/// The rows of the samples that run.
inline PackedRows running_rows(const PackedRows& rows, const PackedBranch& branch) {
  return branch.samples.empty() ? rows : PackedRows{branch.samples, rows.tokens};
}

/// Of one group; undefined: it is not rotated. [patches, head_dim / 2] float32.
struct PackedRotary {
  at::Tensor cos, sin;
};

struct PackedWeights {
  at::Tensor proj_weight, proj_bias, norm_weight, norm_bias;
  at::Tensor up_weight, up_bias, down_weight, down_bias;  ///< SwiGLU where up is twice as wide as down reads
};

/// Whether the operations below take tensors like `like` for such a network and `groups` groups.
bool packed_supported(const at::Tensor& like, int64_t dim, int64_t hidden, int64_t heads, size_t groups);

/// LayerNorm of the rows that `to` keeps. x [rows, D] -> [rows of to, D].
at::Tensor packed_norm(const at::Tensor& x, const PackedRows& rows, const PackedBranch& to, const at::Tensor& weight,
                       const at::Tensor& bias, double eps);

/// Rotated queries and keys, and values, of each group: three tensors [samples, heads, tokens, head_dim], views of one matrix. h [rows, D];
/// `rotary` one for each group, or empty.
std::vector<at::Tensor> packed_qkv(const at::Tensor& h, const PackedRows& rows, const at::Tensor& weight, const at::Tensor& bias, int heads,
                                   int64_t prefix, const std::vector<PackedRotary>& rotary);

/// The next LayerNorm on the way, in the same pass as the last residual; undefined weight: none.
struct PackedNext {
  at::Tensor weight, bias;
  PackedBranch to;
};
struct PackedOut {
  at::Tensor x;  ///< [rows, D]
  at::Tensor h;  ///< [rows of next.to, D]; undefined without a next norm
};
/// The projection behind attention. mixed: attention's output of each group, rows of its samples [.., D] -> [all of them, D]. The bias gets
/// no gradient here: packed_branches makes it.
at::Tensor packed_projection(const std::vector<at::Tensor>& mixed, const at::Tensor& weight, const at::Tensor& bias);
/// x += gain1 * proj(mixed), then x += gain2 * down(f(up(norm x))), f GELU or SwiGLU. mixed: attention's output of each group, rows of the
/// samples that `first` keeps [.., D]. Without a weight of the projection `mixed` is one matrix, what packed_projection gave with the same
/// bias: the same bits, and attention's output is not kept.
PackedOut packed_branches(const at::Tensor& x, const std::vector<at::Tensor>& mixed, const PackedRows& rows, const PackedWeights& weights,
                          double eps, const PackedBranch& first, const PackedBranch& second, const PackedNext& next);

/// LayerScale and a masked key bias as part of the layers around them, in one pass. gamma undefined: that layer stays as it is.
struct PackedFold {
  at::Tensor proj_weight, proj_bias, gamma1, down_weight, down_bias, gamma2;
  at::Tensor qkv_bias;  ///< undefined where no key bias is masked
};
PackedFold packed_fold(const PackedFold& in);

/// cos and sin [sets, rows * columns, 2 * quarter] float32 on `device`. centres [sets, rows + columns] and frequency
/// [quarter], float64 in main memory.
PackedRotary packed_rotary_tables(const at::Tensor& centres, const at::Tensor& frequency, int64_t rows, int64_t columns, at::Device device);

}  // namespace dinoxx::ops
