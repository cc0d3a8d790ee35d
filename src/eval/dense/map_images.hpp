// Maps of patches as images. Private to what draws them.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace dinoxx::eval {

/// [rows, columns] or [3, rows, columns] in [0, 1] -> [3, height, width] uint8, each cell a rectangle; sides are multiples of the cells.
at::Tensor map_image(const at::Tensor& map, int64_t height, int64_t width);
/// PNG of [3, height, width] uint8.
std::string map_png(const at::Tensor& panel);
/// Over its 99th percentile: one patch that takes nearly all the attention (an artefact of trained ViTs) would leave the rest black.
at::Tensor attention_map(const at::Tensor& attention);

/// Scores of the first three principal components of patches [N, D], [3, N] in [0, 1] (between the 1st and 99th percentile), and their
/// shares of the variance.
struct Components {
  at::Tensor maps;
  std::vector<double> explained;
};
Components principal_components(const at::Tensor& patches);

}  // namespace dinoxx::eval
