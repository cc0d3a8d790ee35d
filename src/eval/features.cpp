#include "dinoxx/eval/features.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/eval/blocks.hpp"
#include "dinoxx/eval/knn.hpp"

namespace dinoxx::eval {
namespace {

// Pixel features of larger images would need more memory than they are worth as a baseline.
constexpr int kLargestPixels = 64;
constexpr int kReducedPixels = 32;

template <class Network>
Embedder embedder_of(std::string name, std::string description, const Network& network) {
  return {std::move(name), std::move(description), network.feature_dim(), [&network](const at::Tensor& images) {
            const at::Tensor& parameter = network.parameters().front().tensor;
            return network.forward(images.to(parameter.options().requires_grad(false)));
          }};
}

}  // namespace

Embedder backbone_embedder(std::string name, std::string description, const VisionTransformer& network) {
  return embedder_of(std::move(name), std::move(description), network);
}
Embedder backbone_embedder(std::string name, std::string description, const Backbone& network) {
  return embedder_of(std::move(name), std::move(description), network);
}

Embedder pixel_embedder(int image_size) {
  if (image_size <= kLargestPixels) {
    return {"raw", fmt::format("raw pixels, {0} x {0}", image_size), int64_t{3} * image_size * image_size, [](const at::Tensor& images) { return images.flatten(1); }};
  }
  return {"raw", fmt::format("raw pixels, {0} x {0} averaged down to {1} x {1}", image_size, kReducedPixels), int64_t{3} * kReducedPixels * kReducedPixels,
          [](const at::Tensor& images) { return at::adaptive_avg_pool2d(images, {kReducedPixels, kReducedPixels}).flatten(1); }};
}

EvalTransform choose_transform(const Dataset& dataset, std::span<const uint64_t> ids, int image_size) {
  const bool fits = std::all_of(ids.begin(), ids.end(), [&](uint64_t id) {
    const SampleMeta& meta = dataset.meta(id);
    return static_cast<int>(meta.width) == image_size && static_cast<int>(meta.height) == image_size;
  });
  return fits ? EvalTransform{0, image_size} : EvalTransform{static_cast<int>(std::lround(image_size * 256.0 / 224.0)), image_size};
}

std::string describe(const EvalTransform& transform) {
  if (transform.resize == 0) return fmt::format("{0} x {0} as stored", transform.crop);
  return fmt::format("short side to {} (bicubic), centre crop {}", transform.resize, transform.crop);
}

FeatureSet extract_features(const Dataset& dataset, std::span<const uint64_t> ids, std::span<const Embedder> embedders, const ExtractOptions& options,
                            Communicator& comm) {
  const int64_t total = static_cast<int64_t>(ids.size());
  const ItemRange mine = rank_items(total, comm.rank(), comm.size());
  const int64_t crop = options.transform.crop, pixels = 3 * crop * crop;
  FeatureSet features;
  on_all_ranks(comm, [&] {
    features.ids = at::full({mine.size()}, -1, at::kLong);
    int64_t* done = features.ids.data_ptr<int64_t>();
    for (const Embedder& embedder : embedders) features.rows.push_back(at::empty({mine.size(), embedder.dim}, at::kFloat));
    for_each_block(total, mine, options.threads, [&](int64_t, ItemRange items) {
      const at::Tensor images = at::empty({items.size(), 3, crop, crop}, at::kFloat);
      std::vector<uint8_t> bytes;
      Image image;
      for (int64_t i = 0; i < items.size(); ++i) {
        const uint64_t id = ids[items.begin + i];
        dataset.read(id, bytes);
        try {
          decode_image(bytes, image);
        } catch (const Error& e) {
          throw Error(fmt::format("{}: {}", dataset.key(id), e.what()));
        }
        make_eval_view(image, options.transform, options.plan, images.data_ptr<float>() + i * pixels);
        done[items.begin + i - mine.begin] = static_cast<int64_t>(id);
      }
      for (size_t e = 0; e < embedders.size(); ++e) {
        const at::Tensor rows = normalize_rows(embedders[e].embed(images).to(at::kCPU, at::kFloat));
        features.rows[e].narrow(0, items.begin - mine.begin, items.size()).copy_(rows);
      }
    });
  });
  return features;
}

}  // namespace dinoxx::eval
