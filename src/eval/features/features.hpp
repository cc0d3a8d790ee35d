#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data_pipeline/augment/views.hpp"
#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "model/backbones/backbone.hpp"

namespace dinoxx::eval {

/// Something that turns images into features.
struct Embedder {
  std::string name;         ///< "teacher", "raw", "untrained"
  std::string description;  ///< for results.json
  int64_t dim = 0;
  std::function<at::Tensor(const at::Tensor& images)> embed;  ///< [B, 3, S, S] float32 on CPU -> [B, dim]; called from several threads
  /// Features of patches as they come (not normalised): [B, 3, S, S] -> [B, N, any] float32, N cells of a square grid row by row. May be
  /// empty.
  std::function<at::Tensor(const at::Tensor& images)> patches = {};
  /// Attention of CLS to the patches in the last block: [B, 3, S, S] -> [B, heads, N]. Empty for what has none.
  std::function<at::Tensor(const at::Tensor& images)> attention = {};
  const Backbone* network = nullptr;  ///< whose features these are; none for pixels
  std::string reading = {};           ///< what of the network `embed` takes, in words; empty: its feature
};

/// The feature of `network` (CLS, or what takes its place) in evaluation mode, on the network's device and in its type. `network` must
/// outlive the embedder.
Embedder backbone_embedder(std::string name, std::string description, const VisionTransformer& network);
Embedder backbone_embedder(std::string name, std::string description, const Backbone& network);
/// The normalised pixels themselves; images larger than 64 are averaged down to 32 x 32 (stated in the description).
/// Its patches are the pixels under each patch of `grid_of`, averaged down to 16 x 16 where they are more; none without it.
Embedder pixel_embedder(int image_size, const Backbone* grid_of = nullptr);

struct ExtractOptions {
  EvalTransform transform;
  Normalization normalization;  ///< the network's own, LoadedModel::normalization
  int threads = 1;              ///< decoding and forward, one block of images each
  bool whole = false;           ///< `transform` shows whole images, resized to the input's square
};

/// How images become network input: untouched when every image of `ids` is image_size x image_size already, else short side to image_size *
/// 256 / 224 and centre crop (the published proportion); `whole`: the whole image resized to image_size x image_size, whatever its aspect.
EvalTransform choose_transform(const Dataset& dataset, std::span<const uint64_t> ids, int image_size, bool whole = false);
std::string describe(const EvalTransform& transform, bool whole = false);
/// Share of the images' area from which on a centre crop is no cause for a warning; a square image shows (224 / 256)^2 = 0.766 of itself.
inline constexpr double kEnoughSeen = 0.7;
/// A warning where the centre crop shows less than kEnoughSeen of the images (mean); else "".
std::string note_on_crop(const Dataset& dataset, std::span<const uint64_t> ids, const EvalTransform& transform);

/// Network input of some images, [ids, 3, crop, crop]. Error with the key of an image that cannot be read.
at::Tensor read_images(const Dataset& dataset, std::span<const uint64_t> ids, const ExtractOptions& options);

/// This rank's part (rank_items) of the features of a list of ids.
struct FeatureSet {
  at::Tensor ids;                ///< [local] int64: which image each row was made from, written where the row is written; -1 = never
  std::vector<at::Tensor> rows;  ///< per embedder [local, dim] float32, normalised
};

/// Reads and decodes each image of this rank's part once and embeds it with every embedder. Collective: an error on any rank (an unreadable
/// image, a feature that is not finite) is thrown on all.
FeatureSet extract_features(const Dataset& dataset, std::span<const uint64_t> ids, std::span<const Embedder> embedders,
                            const ExtractOptions& options, Communicator& comm);

}  // namespace dinoxx::eval
