#pragma once
#include "backbone.hpp"

namespace dinoxx {

/// How much the CLS token of each image looks at every token in the last block: [B, heads, 1 + R + N] float32 on the CPU over CLS,
/// registers and patches, each row sums to 1. Undefined for a network without attention (ConvNeXt, ResNet). Works through the batch in
/// parts, because the whole of one image is heads * (1 + R + N)^2 numbers. Evaluation.
at::Tensor cls_attention(const Backbone& network, const at::Tensor& images);

/// Rows and columns of `patches` positions that a network has made of an image of height x width. Error when no grid of square cells is
/// that.
struct PatchGrid {
  int64_t rows = 0, columns = 0;
};
PatchGrid patch_grid(int64_t height, int64_t width, int64_t patches);

}  // namespace dinoxx
