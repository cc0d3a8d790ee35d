#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace dinoxx {

/// What a convolutional backbone says about a batch of images, under the names that every backbone uses. N = h w positions of the last
/// stage, row by row.
struct ConvFeatures {
  at::Tensor cls;                  ///< [B, D]: the pooled feature, which takes the place of a CLS token
  at::Tensor patches;              ///< [B, N, D]
  at::Tensor registers;            ///< [B, 0, D]: a convolutional network has none
  std::vector<at::Tensor> stages;  ///< output of each stage before any final norm, [B, D_i, h_i, w_i] (channels-last memory)
};

}  // namespace dinoxx
