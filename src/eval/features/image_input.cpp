#include "image_input.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "data_pipeline/augment/resize.hpp"
#include "data_pipeline/codec/image_files.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/image.hpp"

namespace dinoxx::eval {

std::span<const uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

int input_multiple(const BackboneConfig& config) {
  constexpr int kConvStride = 32;
  const auto* vit = std::get_if<VitConfig>(&config);
  return vit ? static_cast<int>(vit->patch_size) : kConvStride;
}

InputImage read_input_image(const std::filesystem::path& path, int size, int multiple) {
  std::vector<uint8_t> bytes;
  read_image_file(path, bytes);
  Image image;
  try {
    decode_image(bytes, image);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", path.string(), e.what()));
  }
  const double scale = size > 0 ? static_cast<double>(size) / std::min(image.width, image.height) : 1.0;
  const auto side = [&](int length) { return multiple * std::max(1, static_cast<int>(std::lround(length * scale / multiple))); };
  const ResizeSpec spec{side(image.width), side(image.height), {}, false};
  SourceImage source;
  source.assign(image);
  PlanarScratch scratch;
  ResizeScratch work;
  PlanarImage planes = scratch.image(spec.width, spec.height);
  resize_bicubic(source, {0, 0, image.width, image.height}, spec, planes, work);
  std::vector<at::Tensor> channels;
  for (uint8_t* plane : planes.plane) channels.push_back(at::from_blob(plane, {spec.height, spec.width}, at::kByte));
  return {at::stack(channels), image.width, image.height};
}

at::Tensor network_input(const at::Tensor& pixels, const Normalization& normalization) {
  at::Tensor input = pixels.to(at::kFloat).div_(255.0);
  for (int64_t c = 0; c < 3; ++c) input[c].sub_(normalization.mean[c]).div_(normalization.std[c]);
  return input.unsqueeze(0);
}

}  // namespace dinoxx::eval
