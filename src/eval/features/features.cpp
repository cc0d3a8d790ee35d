#include "features.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "blocks.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/knn.hpp"
#include "model/backbones/attention.hpp"

namespace dinoxx::eval {
namespace {

// Pixel features of larger images would need more memory than they are worth as a baseline.
constexpr int kLargestPixels = 64;
constexpr int kReducedPixels = 32;
constexpr int64_t kLargestPatch = 16;

// On the network's device and in its type.
template <class Network>
at::Tensor input_of(const Network& network, const at::Tensor& images) {
  return images.to(network.parameters().front().tensor.options().requires_grad(false));
}

template <class Network>
Embedder embedder_of(std::string name, std::string description, const Network& network) {
  return {std::move(name), std::move(description), network.feature_dim(),
          [&network](const at::Tensor& images) { return network.forward(input_of(network, images)); }};
}

at::Tensor patches_of(const Backbone& network, const at::Tensor& images) {
  return network.forward_features({input_of(network, images), nullptr, {}, false}).patches;
}

// [B, 3, H, W] -> [B, rows * columns, pixels]
at::Tensor pixel_patches(const at::Tensor& images, const PatchGrid& grid) {
  const int64_t cell = std::clamp<int64_t>((images.size(2) + grid.rows - 1) / grid.rows, 1, kLargestPatch);
  const bool fits = cell * grid.rows == images.size(2) && cell * grid.columns == images.size(3);
  const at::Tensor fitted = fits ? images : at::adaptive_avg_pool2d(images, {cell * grid.rows, cell * grid.columns});
  return fitted.reshape({images.size(0), images.size(1), grid.rows, cell, grid.columns, cell})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({images.size(0), grid.rows * grid.columns, images.size(1) * cell * cell});
}

}  // namespace

Embedder backbone_embedder(std::string name, std::string description, const VisionTransformer& network) {
  return embedder_of(std::move(name), std::move(description), network);
}
Embedder backbone_embedder(std::string name, std::string description, const Backbone& network) {
  Embedder embedder = embedder_of(std::move(name), std::move(description), network);
  embedder.network = &network;
  embedder.patches = [&network](const at::Tensor& images) { return patches_of(network, images).to(at::kCPU, at::kFloat); };
  if (std::holds_alternative<VitConfig>(network.config())) {
    embedder.attention = [&network](const at::Tensor& images) {
      const at::Tensor all = cls_attention(network, input_of(network, images));
      const int64_t others = 1 + std::get<VitConfig>(network.config()).registers;
      return all.narrow(2, others, all.size(2) - others);
    };
  }
  return embedder;
}

Embedder pixel_embedder(int image_size, const Backbone* grid_of) {
  if (grid_of) {
    Embedder embedder = pixel_embedder(image_size);
    embedder.patches = [grid_of](const at::Tensor& images) {
      // how many cells there are, the network itself knows best: one image of a block is little
      const int64_t cells = patches_of(*grid_of, images.narrow(0, 0, 1)).size(1);
      return pixel_patches(images, patch_grid(images.size(2), images.size(3), cells));
    };
    return embedder;
  }
  if (image_size <= kLargestPixels) {
    return {"raw", fmt::format("raw pixels, {0} x {0}", image_size), int64_t{3} * image_size * image_size,
            [](const at::Tensor& images) { return images.flatten(1); }};
  }
  return {"raw", fmt::format("raw pixels, {0} x {0} averaged down to {1} x {1}", image_size, kReducedPixels),
          int64_t{3} * kReducedPixels * kReducedPixels, [](const at::Tensor& images) {
            return at::adaptive_avg_pool2d(images, {kReducedPixels, kReducedPixels}).flatten(1);
          }};
}

EvalTransform choose_transform(const Dataset& dataset, std::span<const uint64_t> ids, int image_size, bool whole) {
  if (whole) return {0, image_size};
  const bool fits = std::all_of(ids.begin(), ids.end(), [&](uint64_t id) {
    const SampleMeta& meta = dataset.meta(id);
    return static_cast<int>(meta.width) == image_size && static_cast<int>(meta.height) == image_size;
  });
  return fits ? EvalTransform{0, image_size} : EvalTransform{static_cast<int>(std::lround(image_size * 256.0 / 224.0)), image_size};
}

std::string note_on_crop(const Dataset& dataset, std::span<const uint64_t> ids, const EvalTransform& transform) {
  if (transform.resize == 0 || ids.empty()) return "";
  const double kept = static_cast<double>(transform.crop) / static_cast<double>(transform.resize);
  double seen = 0;
  for (const uint64_t id : ids) {
    const SampleMeta& meta = dataset.meta(id);
    const double shorter = std::min(meta.width, meta.height), longer = std::max(meta.width, meta.height);
    seen += longer > 0 ? kept * kept * shorter / longer : 1;
  }
  seen /= static_cast<double>(ids.size());
  if (seen >= kEnoughSeen) return "";
  return fmt::format(
      "the centre crop shows {:.0f} % of the images' area: what lies outside is not seen; --fit whole shows all of each image", 100 * seen);
}

std::string describe(const EvalTransform& transform, bool whole) {
  if (whole) return fmt::format("whole image resized to {0} x {0} (bicubic)", transform.crop);
  if (transform.resize == 0) return fmt::format("{0} x {0} as stored", transform.crop);
  return fmt::format("short side to {} (bicubic), centre crop {}", transform.resize, transform.crop);
}

at::Tensor read_images(const Dataset& dataset, std::span<const uint64_t> ids, const ExtractOptions& options) {
  const int64_t crop = options.transform.crop;
  const at::Tensor images = at::empty({static_cast<int64_t>(ids.size()), 3, crop, crop}, at::kFloat);
  std::vector<uint8_t> bytes;
  Image image;
  for (size_t i = 0; i < ids.size(); ++i) {
    dataset.read(ids[i], bytes);
    try {
      decode_image(bytes, image);
    } catch (const Error& e) {
      throw Error(fmt::format("{}: {}", dataset.key(ids[i]), e.what()));
    }
    make_eval_view(image, options.transform, options.normalization, images.data_ptr<float>() + static_cast<int64_t>(i) * 3 * crop * crop);
  }
  return images;
}

FeatureSet extract_features(const Dataset& dataset, std::span<const uint64_t> ids, std::span<const Embedder> embedders,
                            const ExtractOptions& options, Communicator& comm) {
  const int64_t total = static_cast<int64_t>(ids.size());
  const ItemRange mine = rank_items(total, comm.rank(), comm.size());
  FeatureSet features;
  on_all_ranks(comm, [&] {
    features.ids = at::full({mine.size()}, -1, at::kLong);
    int64_t* done = features.ids.data_ptr<int64_t>();
    for (const Embedder& embedder : embedders) features.rows.push_back(at::empty({mine.size(), embedder.dim}, at::kFloat));
    for_each_block(total, mine, options.threads, [&](int64_t, ItemRange items) {
      const auto of_block = ids.subspan(items.begin, items.size());
      const at::Tensor images = read_images(dataset, of_block, options);
      std::copy(of_block.begin(), of_block.end(), done + items.begin - mine.begin);
      for (size_t e = 0; e < embedders.size(); ++e) {
        const at::Tensor rows = normalize_rows(embedders[e].embed(images).to(at::kCPU, at::kFloat));
        features.rows[e].narrow(0, items.begin - mine.begin, items.size()).copy_(rows);
      }
    });
  });
  return features;
}

}  // namespace dinoxx::eval
