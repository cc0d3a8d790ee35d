#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/data/dataset.hpp"
#include "dinoxx/data/views.hpp"
#include "dinoxx/model/backbone.hpp"

namespace dinoxx::eval {

/// Something that turns images into features.
struct Embedder {
  std::string name;         ///< "teacher", "raw", "untrained"
  std::string description;  ///< for results.json
  int64_t dim = 0;
  std::function<at::Tensor(const at::Tensor& images)> embed;  ///< [B, 3, S, S] float32 on CPU -> [B, dim]; called from several threads
};

/// The feature of `network` (CLS, or what takes its place) in evaluation mode, on the network's device and in its type. `network` must outlive
/// the embedder.
Embedder backbone_embedder(std::string name, std::string description, const VisionTransformer& network);
Embedder backbone_embedder(std::string name, std::string description, const Backbone& network);
/// The normalised pixels themselves; images larger than 64 are averaged down to 32 x 32 (stated in the description).
Embedder pixel_embedder(int image_size);

struct ExtractOptions {
  EvalTransform transform;
  ViewPlan plan;    ///< mean and std only
  int threads = 1;  ///< decoding and forward, one block of images each
};

/// How images become network input: untouched when every image of `ids` is image_size x image_size already, else short side to image_size * 256 / 224 and
/// centre crop (the published proportion).
EvalTransform choose_transform(const Dataset& dataset, std::span<const uint64_t> ids, int image_size);
std::string describe(const EvalTransform& transform);

/// This rank's part (rank_items) of the features of a list of ids.
struct FeatureSet {
  at::Tensor ids;                 ///< [local] int64: which image each row was made from, written where the row is written; -1 = never
  std::vector<at::Tensor> rows;   ///< per embedder [local, dim] float32, normalised
};

/// Reads and decodes each image of this rank's part once and embeds it with every embedder. Collective: an error on any rank (an unreadable image, a feature that is
/// not finite) is thrown on all.
FeatureSet extract_features(const Dataset& dataset, std::span<const uint64_t> ids, std::span<const Embedder> embedders, const ExtractOptions& options,
                            Communicator& comm);

}  // namespace dinoxx::eval
