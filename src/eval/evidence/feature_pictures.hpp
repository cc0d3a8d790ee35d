#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

struct FeaturePictures {
  nlohmann::json section;
  std::map<std::string, std::string> files;  ///< name and PNG; on every rank
};
/// What the network sees in a few images: the input, the first three principal components of their patch features as red, green and blue
/// (fitted to all of them together, so that one colour means one thing), attention of CLS in the last block (mean, each head, the patches
/// that hold 60 % of the mean), cosine of all patches with the most attended one. {"images": [{id, files: {input, pca, similarity,
/// attention, attention_60, heads: []}, attention: {share_of_patches_with_60_percent, largest_of_a_patch}, norms: {min, median, max,
/// above_4_medians}, asked: [row, column]}], "grid", "explained": shares of the variance}, or {"left_out": why} where the embedder has no
/// patches or input.images is not there. Collective.
FeaturePictures feature_pictures(const ProtocolInput& input, std::span<const uint64_t> ids);

}  // namespace dinoxx::eval
