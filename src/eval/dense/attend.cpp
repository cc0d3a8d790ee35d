#include "attend.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "dense.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/image_input.hpp"
#include "map_images.hpp"
#include "model/backbones/attention.hpp"
#include "model/weights/backbone_json.hpp"
#include "model/weights/facts.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kLargestAttention = int64_t{1} << 30;  // numbers, 4 GiB
constexpr double kMass = 0.6;
constexpr int64_t kColumns = 4, kGap = 4;  // of the overview

at::Tensor overview(const std::vector<std::pair<std::string, at::Tensor>>& panels) {
  const int64_t height = panels[0].second.size(1) + kGap, width = panels[0].second.size(2) + kGap;
  const int64_t count = static_cast<int64_t>(panels.size()), columns = std::min(count, kColumns);
  const at::Tensor sheet = at::full({3, (count + columns - 1) / columns * height - kGap, columns * width - kGap}, 255, at::kByte);
  for (int64_t i = 0; i < count; ++i)
    sheet.narrow(1, i / columns * height, height - kGap).narrow(2, i % columns * width, width - kGap).copy_(panels[i].second);
  return sheet;
}

double entropy(const at::Tensor& p) {
  return -at::xlogy(p, p).sum().item<double>();
}

// Numbers of one row of attention [T] over CLS, `registers` and patches.
json attention_numbers(const at::Tensor& row, int64_t registers) {
  const at::Tensor p = row.to(at::kDouble);
  const at::Tensor patches = row.narrow(0, 1 + registers, row.size(0) - 1 - registers).contiguous();
  const std::vector<uint8_t> kept = keep_mass({patches.data_ptr<float>(), static_cast<size_t>(patches.numel())}, kMass);
  json of_registers = json::array();
  for (int64_t r = 0; r < registers; ++r) of_registers.push_back(p[1 + r].item<double>());
  return {
      {"sum", p.sum().item<double>()},
      {"entropy", entropy(p)},
      {"mass",
       {{"cls", p[0].item<double>()}, {"registers", std::move(of_registers)}, {"patches", patches.to(at::kDouble).sum().item<double>()}}},
      {"largest_of_a_patch", patches.max().item<double>()},
      {"share_of_patches_with_60_percent",
       static_cast<double>(std::count(kept.begin(), kept.end(), 1)) / static_cast<double>(kept.size())}};
}

}  // namespace

json attend(const AttendOptions& options) {
  const at::NoGradGuard no_grad;
  const LoadedModel model = load_model(options.model);
  const BackboneConfig config = model.network->config();
  const auto* vit = std::get_if<VitConfig>(&config);
  if (!std::filesystem::is_regular_file(options.image))
    fail_usage("IMAGE", "a JPEG or PNG file", fmt::format("no {}", options.image.string()), "Check the path.");
  const at::Tensor picture = read_input_image(options.image, options.image_size.value_or(model.image_size), input_multiple(config)).pixels;
  const int64_t height = picture.size(1), width = picture.size(2);
  if (vit) {
    const double tokens = static_cast<double>(height / vit->patch_size * (width / vit->patch_size) + 1 + vit->registers);
    if (tokens * tokens * vit->heads > static_cast<double>(kLargestAttention)) {
      fail_usage("--image-size", "an image whose attention has at most 2^30 numbers",
                 fmt::format("{} x {} pixels, {} heads, {:.0f} tokens", width, height, vit->heads, tokens), "Choose a smaller one.");
    }
  }
  const at::Tensor input = network_input(picture, model.normalization.value().values)
                               .to(model.network->parameters().front().tensor.options().requires_grad(false));
  const at::Tensor patches = model.network->forward_features({input, nullptr, {}, false}).patches[0].to(at::kCPU, at::kFloat);
  const PatchGrid grid = patch_grid(height, width, patches.size(0));
  std::vector<std::pair<std::string, at::Tensor>> panels{{"input.png", picture}};
  json result = {{"format", "dinoxx attend"},
                 {"version", 1},
                 {"command", options.command_line},
                 {"image", options.image.string()},
                 {"checkpoint",
                  {{"file", model.file.string()},
                   {"crc32c", fmt::format("{:08x}", model.crc32c)},
                   {"step", model.step ? json(*model.step) : json(nullptr)},
                   {"model", to_json(config)},
                   {"input", describe(model.normalization.value())},
                   {"facts", describe(model.facts)},
                   {"notes", model.notes}}},
                 {"input", {{"height", height}, {"width", width}}},
                 {"grid", {grid.rows, grid.columns}}};

  int64_t asked = grid.rows / 2 * grid.columns + grid.columns / 2;
  if (const at::Tensor all = cls_attention(*model.network, input); all.defined()) {
    const int64_t registers = all.size(2) - 1 - patches.size(0);
    json heads = json::array();
    const auto show = [&](const std::string& name, const at::Tensor& row) {
      const at::Tensor map = row.narrow(0, 1 + registers, patches.size(0)).reshape({grid.rows, grid.columns});
      panels.emplace_back(name, map_image(attention_map(map), height, width));
      return attention_numbers(row, registers);
    };
    const at::Tensor mean = all[0].mean(0);
    json of_mean = show("attention_mean.png", mean);
    asked = mean.narrow(0, 1 + registers, patches.size(0)).argmax().item<int64_t>();
    for (int64_t h = 0; h < all.size(1); ++h) heads.push_back(show(fmt::format("attention_head_{}.png", h), all[0][h]));
    result["attention"] = {{"entropy_of_equal_attention", std::log(static_cast<double>(all.size(2)))},
                           {"registers", registers},
                           {"mean", std::move(of_mean)},
                           {"heads", std::move(heads)}};
  } else {
    result["attention"] = nullptr;
    result["notes"] = json::array({"a convolutional network has no attention: patch features only"});
  }

  if (options.patch) {
    const auto [row, column] = *options.patch;
    if (row < 0 || column < 0 || row >= grid.rows || column >= grid.columns) {
      fail_usage("--patch", fmt::format("ROW,COLUMN below {},{}", grid.rows, grid.columns), fmt::format("{},{}", row, column),
                 "Counted from 0, from the upper left.");
    }
    asked = row * grid.columns + column;
  }
  const Components components = principal_components(patches);
  panels.emplace_back("pca.png", map_image(components.maps.reshape({3, grid.rows, grid.columns}), height, width));
  const at::Tensor unit = patches / patches.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
  const at::Tensor similarity = at::mv(unit, unit[asked]);
  panels.emplace_back("similarity.png", map_image(similarity.reshape({grid.rows, grid.columns}), height, width));
  const at::Tensor norms = patches.norm(2, 1);
  result["patches"] = {
      {"dim", patches.size(1)},
      {"norm", {{"mean", norms.mean().item<double>()}, {"min", norms.min().item<double>()}, {"max", norms.max().item<double>()}}}};
  result["pca"] = {{"explained", components.explained}};
  result["similarity"] = {{"patch", {asked / grid.columns, asked % grid.columns}},
                          {"mean", similarity.mean().item<double>()},
                          {"min", similarity.min().item<double>()},
                          {"max", similarity.max().item<double>()}};

  make_writable_directory(options.out);
  result["files"] = json::array();
  panels.emplace_back("overview.png", overview(panels));
  for (const auto& [name, pixels] : panels) {
    write_file_atomically(options.out / name, map_png(pixels));
    result["files"].push_back(name);
  }
  write_file_atomically(options.out / "attend.json", json_text(result, 2) + "\n");
  return result;
}

}  // namespace dinoxx::eval
