#include "dinoxx/eval/embedding.hpp"

#include <fmt/format.h>

#include <numeric>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "embed_rows.hpp"

namespace dinoxx {
namespace {

void check(const BackboneFacts& facts, const Dataset& dataset, std::span<const uint64_t> ids, const EmbeddingOptions& options) {
  if (facts.channels != 3)
    fail_usage(facts.file.string(), "a network for images of 3 channels", std::to_string(facts.channels), "Give it images by forward().");
  if (options.image_size < 0 || options.image_size % facts.side_multiple != 0)
    fail_usage("image_size", fmt::format("0 or a multiple of the patch size {}", facts.side_multiple), std::to_string(options.image_size),
               "Change it.");
  for (const uint64_t id : ids) {
    if (id >= dataset.size())
      fail("embed_images", fmt::format("ids below the {} images of the data set", dataset.size()), std::to_string(id),
           "Take ids from Dataset::ids.");
  }
}

}  // namespace

at::Tensor embed_images(const PretrainedBackbone& backbone, const Dataset& dataset, std::span<const uint64_t> ids,
                        const EmbeddingOptions& options, Communicator& comm) {
  const BackboneFacts& facts = backbone.facts();
  check(facts, dataset, ids, options);
  const int side = options.image_size > 0 ? options.image_size : facts.image_size;
  std::vector<uint64_t> all(dataset.size());
  std::iota(all.begin(), all.end(), uint64_t{0});
  const EvalTransform transform = eval::choose_transform(dataset, all, side);
  const Normalization normalization(facts.mean, facts.std);
  const eval::Embedder embedder{"backbone", "", facts.feature_dim, [&](const at::Tensor& images) { return backbone.forward(images); }};
  return eval::embed_rows(
      static_cast<int64_t>(ids.size()), transform.crop, embedder, options.normalize, options.threads,
      [&](int64_t item, float* input) { eval::make_input(dataset, ids[static_cast<size_t>(item)], transform, normalization, input); },
      [](int64_t) {}, comm);
}

at::Tensor embed_images(const PretrainedBackbone& backbone, const Dataset& dataset, std::span<const uint64_t> ids,
                        const EmbeddingOptions& options) {
  const auto self = make_self_communicator();
  return embed_images(backbone, dataset, ids, options, *self);
}

}  // namespace dinoxx
