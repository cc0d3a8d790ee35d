#include "thumbnails.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "data_pipeline/augment/resize.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::report {
namespace {

constexpr int kSide = 96;

std::string base64(std::string_view bytes) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](size_t k) { return i + k < bytes.size() ? static_cast<uint32_t>(static_cast<unsigned char>(bytes[i + k])) : 0u; };
    const uint32_t word = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (int k = 0; k < 4; ++k) text += i + static_cast<size_t>(k) > bytes.size() ? '=' : kDigits[word >> (18 - 6 * k) & 63];
  }
  return text;
}

Image small(const Image& image) {
  const int longer = std::max(image.width, image.height);
  if (longer <= kSide) return image;
  ResizeSpec spec;
  spec.width = std::max(1, image.width * kSide / longer);
  spec.height = std::max(1, image.height * kSide / longer);
  SourceImage source;
  source.assign(image);
  PlanarScratch planes;
  PlanarImage out = planes.image(spec.width, spec.height);
  ResizeScratch scratch;
  resize_bicubic(source, {0, 0, image.width, image.height}, spec, out, scratch);
  Image result{spec.width, spec.height, std::vector<uint8_t>(out.pixels() * 3)};
  for (size_t i = 0; i < out.pixels(); ++i)
    for (size_t c = 0; c < 3; ++c) result.data[i * 3 + c] = out.plane[c][i];
  return result;
}

}  // namespace

Html Thumbnails::image(uint64_t id) const {
  if (!dataset_ || id >= dataset_->size()) return {};
  try {
    std::vector<uint8_t> bytes;
    Image image;
    dataset_->read(id, bytes);
    decode_image(bytes, image);
    const std::vector<uint8_t> png = encode_png(small(image));
    return picture({reinterpret_cast<const char*>(png.data()), png.size()}, dataset_->key(id), "thumb");
  } catch (const Error& error) {  // a report without one of its images is still a report
    return text(fmt::format("not readable: {}. ", error.what()));
  }
}

Html Thumbnails::image(const std::string& key) const {
  if (!dataset_) return {};
  if (by_key_.empty())
    for (uint64_t id = 0; id < dataset_->size(); ++id) by_key_.emplace(dataset_->key(id), id);
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? Html{} : image(found->second);
}

Html picture(std::string_view png, std::string_view words, std::string_view css) {
  return {fmt::format("<img class=\"{}\" src=\"data:image/png;base64,{}\" alt=\"{}\">", css, base64(png), text(words).code)};
}

Html gallery(const Html& items) {
  return items.code.empty() ? Html{} : element("ul", items, "class=\"thumbs\"");
}

}  // namespace dinoxx::report
