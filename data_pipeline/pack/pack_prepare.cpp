#include "pack_prepare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <new>
#include <system_error>

#include "data_pipeline/codec/image_codecs.hpp"
#include "data_pipeline/codec/image_files.hpp"
#include "data_pipeline/format/content_hash.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

/// The brightest channel.
std::vector<uint8_t> as_gray(const Image& image) {
  std::vector<uint8_t> gray(image.data.size() / 3);
  for (size_t i = 0; i < gray.size(); ++i) gray[i] = std::max({image.data[3 * i], image.data[3 * i + 1], image.data[3 * i + 2]});
  return gray;
}

/// The mask as the format keeps it, an 8-bit gray PNG of the image's size. A gray PNG stays as it is; of other pictures the brightest
/// channel is taken.
void normalise_mask(std::vector<uint8_t>& mask, const Image& image, const DecodeLimits& limits) {
  DecodeLimits whole;
  whole.max_pixels = limits.max_pixels;
  whole.tolerance = std::min(limits.tolerance, Tolerance::kPixels);
  whole.used_bits = 8;  // 1 of 65535 is foreground, too
  Image decoded;
  decode_image(mask, decoded, whole);
  if (decoded.width != image.width || decoded.height != image.height) {
    fail("mask", fmt::format("{} x {} as its image", image.width, image.height), fmt::format("{} x {}", decoded.width, decoded.height), "");
  }
  const ImageInfo info = inspect_image(mask);
  if (info.codec == Codec::kPng && info.channels == 1 && info.bits == 8 && info.orientation == 1 && !info.palette) return;
  mask = encode_gray_png(as_gray(decoded), decoded.width, decoded.height);
}

void read(const PackPlan& plan, size_t i, Prepared& out) {
  const PackItem& item = plan.items[i];
  if (plan.draw) {
    plan.draw(i, out.image, out.mask);
    return;
  }
  read_image_file(item.path, out.image);
  if (!item.mask_path.empty()) read_image_file(item.mask_path, out.mask);
}

}  // namespace

Prepared prepare(const PackPlan& plan, size_t i, const DecodeLimits& limits) {
  const PackItem& item = plan.items[i];
  Prepared out;
  try {
    read(plan, i, out);
    out.kind = "not JPEG or PNG";
    detect_codec(out.image);
    out.kind = "damaged";
    out.record.image = inspect_image(out.image);
    if (int64_t{out.record.image.width} * out.record.image.height > limits.max_pixels) out.kind = "too large";
    Image pixels;
    decode_image(out.image, pixels, limits, &out.notes);
    if (!out.notes.lost.empty() || (out.notes.peak > 0 && limits.used_bits < 16)) {
      const bool gray = out.record.image.channels <= 2 && !out.record.image.palette;
      out.image = gray ? encode_gray_png(as_gray(pixels), pixels.width, pixels.height) : encode_png(pixels);
      out.record.image = inspect_image(out.image);
    }
    out.record.content_id = hash128(pixels.data.data(), pixels.data.size(), static_cast<uint64_t>(pixels.width));
    const auto [least, most] = std::minmax_element(pixels.data.begin(), pixels.data.end());
    out.values = {*least, *most};
    out.kind = "unfit mask";
    if (!out.mask.empty()) normalise_mask(out.mask, pixels, limits);
  } catch (const UnreadableImage& error) {
    if (error.limit()) throw;
    out.bad = error.what();
    out.kind = error.kind();
    return out;
  } catch (const UnsupportedImage& error) {
    out.bad = error.what();
    out.kind = "unsupported kind of image";
    return out;
  } catch (const Error& error) {
    out.bad = error.what();
    return out;
  } catch (const std::bad_alloc&) {
    fail(item.key, fmt::format("memory for {} x {} pixels", out.record.image.width, out.record.image.height), "not enough",
         "Lower --threads or --shard-bytes, or leave large images out with --max-pixels");
  }
  out.kind.clear();
  out.record.key = item.key;
  out.record.labels = item.labels;
  out.record.split = item.split;
  out.record.group = item.group;
  out.record.weight = item.weight;
  return out;
}

uint64_t estimated_bytes(const PackPlan& plan) {
  constexpr uint64_t kSome = 256;
  const uint64_t n = plan.draw ? 0 : plan.items.size(), some = std::min(n, kSome);
  double bytes = 0;
  for (uint64_t i = 0; i < some; ++i) {
    std::error_code code;
    const auto size = std::filesystem::file_size(plan.items[i * n / some].path, code);
    if (!code) bytes += static_cast<double>(size);
  }
  return some == 0 ? 0 : static_cast<uint64_t>(bytes / static_cast<double>(some) * static_cast<double>(n));
}

uint16_t peak_of(const PackItem& item, const DecodeLimits& limits) {
  std::vector<uint8_t> bytes;
  Image pixels;
  DecodeNotes notes;
  try {
    read_image_file(item.path, bytes);
    if (inspect_image(bytes).bits == 16) decode_image(bytes, pixels, limits, &notes);
  } catch (const UnreadableImage& error) {
    if (error.limit()) throw;
    return 0;  // packing says what is wrong
  } catch (const Error&) {
    return 0;
  }
  return notes.peak;
}

}  // namespace dinoxx::detail
