#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// A copy on `device` of a tensor in main memory, which the host does not wait for: to a GPU it goes through page-locked memory. The tensor
/// itself where it is on `device` already.
at::Tensor to_device(const at::Tensor& host, at::Device device);

}  // namespace dinoxx
