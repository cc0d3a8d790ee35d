#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

struct CudaBatchNorm {
  at::Tensor y;                        ///< as x
  at::Tensor mean, unbiased_variance;  ///< [C], of the batch over all ranks, float32 (float64 for float64)
};

/// Batch normalisation in training of x [B, C] or [B, C, H, W] on a GPU, over all ranks of `group` (may be null), with its gradient. ATen's
/// operators for synchronised statistics: a pass over x for its moments, one for y, and two for the gradient; one gather in forward and one
/// reduction in backward. The CPU has no version of them, nor has the GPU one of the operators of batch_norm.cpp:
/// native_batch_norm_backward wants saved statistics there even where it does not read them. Formulas as in batch_norm.cpp.
CudaBatchNorm batch_norm_cuda(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps,
                              const std::shared_ptr<Communicator>& group);

}  // namespace dinoxx
