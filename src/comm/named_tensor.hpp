#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace dinoxx {

/// A parameter or buffer of a network under its published state-dict name. `tensor` is a handle: copies of the handle see the same storage, also
/// after parallel/FlatState has moved the values into a flat buffer (set_data), so models may keep their own copies of the handle.
struct NamedTensor {
  std::string name;  ///< for example "backbone.blocks.0.attn.qkv.weight"
  at::Tensor tensor;
};
using NamedTensors = std::vector<NamedTensor>;

}  // namespace dinoxx
