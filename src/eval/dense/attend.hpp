#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "eval/features/model_source.hpp"

namespace dinoxx::eval {

struct AttendOptions {
  ModelRequest model;
  std::filesystem::path image, out;
  std::optional<int> image_size;                     ///< short side of the network's input; default: what training showed
  std::optional<std::pair<int64_t, int64_t>> patch;  ///< row and column that the similarity map asks about; default: the most attended
  std::string command_line;
};

/// What a backbone sees in one image. Writes into `out`: input.png (the whole image, sides rounded to multiples of the patch, 32 for
/// convolutional networks), attention_head_N.png and attention_mean.png (CLS, last block, each over its own 99th percentile; not for
/// convolutional networks), pca.png (the first three principal components of this image's patch features as red, green, blue),
/// similarity.png (cosine of every patch with one, 0 black to 1 white), overview.png (all of them) and, last, attend.json with the numbers.
/// Maps are in patches, each shown as a square. Returns attend.json. UsageError: no such image, a patch outside the grid, an image whose
/// attention does not fit in memory.
nlohmann::json attend(const AttendOptions& options);

}  // namespace dinoxx::eval
