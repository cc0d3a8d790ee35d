#include "feature_pictures.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "comm/agree.hpp"
#include "eval/dense/dense.hpp"
#include "eval/dense/map_images.hpp"
#include "eval/features/blocks.hpp"
#include "model/backbones/attention.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr double kMass = 0.6, kOutlier = 4;
constexpr int64_t kLargestTable = int64_t{1} << 27;  // numbers, 1 GiB

struct Shape {
  int64_t cells = 0, dim = 0, heads = 0, size = 0;
  int64_t pixels() const { return 3 * size * size; }
  int64_t width() const { return pixels() + cells * dim + heads * cells; }
};

// Of one image in the row that its task fills.
struct Parts {
  at::Tensor picture;    // [3, size, size] in [0, 1]
  at::Tensor patches;    // [cells, dim]
  at::Tensor attention;  // [heads, cells]
};

Parts parts_of(double* row, const Shape& shape) {
  const auto view = [&](double* from, at::IntArrayRef sizes) { return at::from_blob(from, sizes, at::kDouble); };
  double* patches = row + shape.pixels();
  return {view(row, {3, shape.size, shape.size}), view(patches, {shape.cells, shape.dim}),
          view(patches + shape.cells * shape.dim, {shape.heads, shape.cells})};
}

Shape shape_of(const ProtocolInput& input, uint64_t id) {
  Shape shape;
  on_all_ranks(input.comm, [&] {
    const at::Tensor image = read_images(input.dataset, {&id, 1}, *input.images);
    const at::Tensor patches = input.embedder.patches(image);
    shape = {patches.size(1), patches.size(2), input.embedder.attention ? input.embedder.attention(image).size(1) : 0, image.size(2)};
  });
  return shape;
}

void look_at(const ProtocolInput& input, uint64_t id, const Shape& shape, double* row) {
  const at::Tensor image = read_images(input.dataset, {&id, 1}, *input.images);
  const Parts parts = parts_of(row, shape);
  parts.picture.copy_(image[0]);
  const Normalization& normalization = input.images->normalization;
  for (int64_t c = 0; c < 3; ++c) parts.picture[c].mul_(normalization.std[c]).add_(normalization.mean[c]);
  parts.patches.copy_(input.embedder.patches(image)[0]);
  if (shape.heads > 0) parts.attention.copy_(input.embedder.attention(image)[0]);
}

json norms_of(const at::Tensor& patches) {
  const at::Tensor norms = patches.norm(2, 1);
  const double median = norms.median().item<double>();
  return {{"min", norms.min().item<double>()},
          {"median", median},
          {"max", norms.max().item<double>()},
          {"above_4_medians", (norms > kOutlier * median).to(at::kDouble).mean().item<double>()}};
}

// The images of one image; what is said of it in numbers goes into `about`.
void draw(const Parts& parts, const at::Tensor& colours, const Shape& shape, const std::string& stem, json& about,
          std::map<std::string, std::string>& files) {
  const PatchGrid grid = patch_grid(shape.size, shape.size, shape.cells);
  const auto put_file = [&](const std::string& kind, const at::Tensor& pixels) {
    const std::string name = fmt::format("{}_{}.png", stem, kind);
    files[name] = map_png(pixels);
    return name;
  };
  const auto put_map = [&](const std::string& kind, const at::Tensor& map) {
    return put_file(kind, map_image(map.reshape({map.numel() / shape.cells, grid.rows, grid.columns}).squeeze(0), shape.size, shape.size));
  };
  json& names = about["files"];
  names["input"] = put_file("input", map_image(parts.picture, shape.size, shape.size));
  names["pca"] = put_map("pca", colours);
  int64_t asked = grid.rows / 2 * grid.columns + grid.columns / 2;
  if (shape.heads > 0) {
    const at::Tensor mean = parts.attention.mean(0);
    const at::Tensor single = mean.to(at::kFloat).contiguous();
    const std::vector<uint8_t> kept = keep_mass({single.data_ptr<float>(), static_cast<size_t>(shape.cells)}, kMass);
    at::Tensor bright = at::empty({grid.rows, grid.columns}, at::kDouble);
    for (int64_t i = 0; i < shape.cells; ++i) bright.data_ptr<double>()[i] = kept[i] ? 1.0 : 0.2;
    asked = mean.argmax().item<int64_t>();
    names["attention"] = put_map("attention", attention_map(mean));
    const int64_t tall = shape.size / grid.rows * grid.rows, wide = shape.size / grid.columns * grid.columns;
    bright = bright.repeat_interleave(tall / grid.rows, 0).repeat_interleave(wide / grid.columns, 1);
    names["attention_60"] = put_file("attention_60", map_image(parts.picture.narrow(1, 0, tall).narrow(2, 0, wide) * bright, tall, wide));
    names["heads"] = json::array();
    for (int64_t h = 0; h < shape.heads; ++h)
      names["heads"].push_back(put_map(fmt::format("attention_head_{}", h), attention_map(parts.attention[h])));
    about["attention"] = {{"share_of_patches_with_60_percent",
                           static_cast<double>(std::count(kept.begin(), kept.end(), 1)) / static_cast<double>(shape.cells)},
                          {"largest_of_a_patch", mean.max().item<double>()}};
  }
  const at::Tensor unit = parts.patches / parts.patches.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
  names["similarity"] = put_map("similarity", at::mv(unit, unit[asked]));
  about["asked"] = {asked / grid.columns, asked % grid.columns};
}

}  // namespace

FeaturePictures feature_pictures(const ProtocolInput& input, std::span<const uint64_t> ids) {
  FeaturePictures result;
  if (!input.images || !input.embedder.patches || ids.empty()) {
    result.section["left_out"] = ids.empty() ? "no image was chosen" : "these features have no patches";
    return result;
  }
  const Shape shape = shape_of(input, ids.front());
  const auto count = static_cast<int64_t>(ids.size());
  if (shape.width() * count > kLargestTable) {
    result.section["left_out"] =
        fmt::format("patch features of {} images are {} numbers, more than {}", count, shape.width() * count, kLargestTable);
    return result;
  }
  const at::Tensor rows = run_tasks(input.comm, count, shape.width(), input.threads,
                                    [&](int64_t i, double* row) { look_at(input, ids[static_cast<size_t>(i)], shape, row); });
  std::vector<Parts> parts;
  std::vector<at::Tensor> patches;
  for (int64_t i = 0; i < count; ++i) {
    parts.push_back(parts_of(rows.data_ptr<double>() + i * shape.width(), shape));
    patches.push_back(parts.back().patches);
  }
  // decomposed by one thread of one rank: the same digits everywhere
  const int64_t total = count * shape.cells;
  const at::Tensor joint = run_tasks(input.comm, 1, 3 * total + 3, 1, [&](int64_t, double* row) {
    const Components components = principal_components(at::cat(patches));
    at::from_blob(row, {3, total}, at::kDouble).copy_(components.maps);
    for (size_t c = 0; c < 3; ++c) row[3 * total + static_cast<int64_t>(c)] = c < components.explained.size() ? components.explained[c] : 0;
  });
  const at::Tensor maps = joint[0].narrow(0, 0, 3 * total).reshape({3, total});
  const PatchGrid grid = patch_grid(shape.size, shape.size, shape.cells);
  json& section = result.section;
  section = {{"grid", {grid.rows, grid.columns}}, {"images", json::array()}};
  for (int64_t c = 0; c < 3; ++c) section["explained"].push_back(joint[0][3 * total + c].item<double>());
  for (int64_t i = 0; i < count; ++i) {
    json about = {{"id", ids[static_cast<size_t>(i)]}, {"norms", norms_of(parts[static_cast<size_t>(i)].patches)}};
    draw(parts[static_cast<size_t>(i)], maps.narrow(1, i * shape.cells, shape.cells), shape,
         fmt::format("features_{}", ids[static_cast<size_t>(i)]), about, result.files);
    section["images"].push_back(std::move(about));
  }
  return result;
}

}  // namespace dinoxx::eval
