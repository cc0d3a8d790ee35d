// Gradients as autograd makes them, into the flat buffer.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace dinoxx::parallel_detail {

struct FreshGradient {
  at::Tensor values;   ///< any shape, strides and floating type, on the buffer's device
  int64_t offset = 0;  ///< of the flat buffer
  bool add = false;    ///< to what is there; else it is overwritten
};

/// On a GPU with float32 gradients one launch for about a hundred of them, on the current stream; else ATen's copies one by one.
void gather_gradients(const std::vector<FreshGradient>& gradients, const at::Tensor& flat);

/// `flat` float32 on a GPU, values contiguous, bfloat16 or float32. A build without CUDA links a function that says so.
void gather_cuda(const std::vector<FreshGradient>& gradients, const at::Tensor& flat);

}  // namespace dinoxx::parallel_detail
