#include "picture_folder.hpp"

#include <ATen/ATen.h>

#include "blocks.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/image.hpp"

namespace dinoxx::eval {

PictureFolder::PictureFolder(const std::filesystem::path& path, const EvalTransform& transform, bool whole,
                             const Normalization& normalization, int used_bits)
    : files_(list_images(path)),
      transform_(transform),
      whole_(whole),
      normalization_(normalization),
      used_bits_(used_bits),
      reasons_(files_.size()) {}

void PictureFolder::make_input(int64_t item, float* input) {
  const auto i = static_cast<size_t>(item);
  try {
    std::vector<uint8_t> encoded;
    read_image_file(files_[i].path, encoded);
    if (used_bits_ < 16) scale(encoded);
    const ImageInfo info = inspect_image(encoded);
    const int side = transform_.crop;
    const bool fits = info.width == side && info.height == side;
    eval::make_input(encoded, transform_.resize == 0 && !fits && !whole_ ? EvalTransform{side, side} : transform_, normalization_, input);
  } catch (const Error& e) {
    reasons_[i] = e.what();
    std::fill_n(input, int64_t{3} * transform_.crop * transform_.crop, 0.0f);
  }
}

// A 16-bit PNG becomes what pack would have made of it.
void PictureFolder::scale(std::vector<uint8_t>& encoded) const {
  DecodeLimits limits;
  limits.used_bits = used_bits_;
  DecodeNotes notes;
  Image pixels;
  decode_image(encoded, pixels, limits, &notes);
  if (notes.peak > 0) encoded = encode_png(pixels);
}

void PictureFolder::share_reasons(Communicator& comm) {
  const ItemRange mine = rank_items(size(), comm.rank(), comm.size());
  const at::Tensor longest = at::zeros({1}, at::kLong);
  for (const std::string& reason : reasons_)
    longest.data_ptr<int64_t>()[0] = std::max(longest.data_ptr<int64_t>()[0], static_cast<int64_t>(reason.size()));
  comm.all_reduce(longest, ReduceOp::kMax)->wait();
  const int64_t width = longest.item<int64_t>();
  if (width == 0) return;
  const at::Tensor local = at::zeros({mine.size(), width}, at::kByte);
  for (int64_t i = 0; i < mine.size(); ++i) {
    const std::string& reason = reasons_[static_cast<size_t>(mine.begin + i)];
    std::copy(reason.begin(), reason.end(), local.data_ptr<uint8_t>() + i * width);
  }
  const at::Tensor all = gather_blocks(comm, local, size());
  for (size_t i = 0; i < reasons_.size(); ++i) {
    const auto* text = reinterpret_cast<const char*>(all.data_ptr<uint8_t>()) + static_cast<int64_t>(i) * width;
    reasons_[i].assign(text, ::strnlen(text, static_cast<size_t>(width)));
  }
}

}  // namespace dinoxx::eval
