#include "pos_embed.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

at::Tensor resize_pos_embed(const at::Tensor& pos_embed, int64_t rows, int64_t columns, double offset, bool antialias) {
  const int64_t learned = pos_embed.size(1) - 1, dim = pos_embed.size(2);
  const int64_t side = std::llround(std::sqrt(static_cast<double>(learned)));
  if (rows == side && columns == side) return pos_embed;

  // bicubic weights in bfloat16 would lose the positions; float32 and float64 stay as they are
  const at::Tensor grid = pos_embed.narrow(1, 1, learned).view({1, side, side, dim}).permute({0, 3, 1, 2});
  const at::Tensor wide = pos_embed.scalar_type() == at::kBFloat16 ? grid.to(at::kFloat) : grid;
  const double root = std::sqrt(static_cast<double>(learned));
  const std::array<double, 2> scale{(static_cast<double>(rows) + offset) / root, (static_cast<double>(columns) + offset) / root};
  const std::array<int64_t, 2> size{rows, columns};
  const bool by_size = offset == 0;
  const at::OptionalIntArrayRef sizes = by_size ? at::OptionalIntArrayRef(size) : at::OptionalIntArrayRef();
  const std::optional<at::ArrayRef<double>> scales = by_size ? std::nullopt : std::optional(at::ArrayRef<double>(scale));
  const at::Tensor resized =
      (antialias ? at::_upsample_bicubic2d_aa(wide, sizes, false, scales) : at::upsample_bicubic2d(wide, sizes, false, scales))
          .to(pos_embed.scalar_type());
  if (resized.size(2) != rows || resized.size(3) != columns)
    fail("position embedding", fmt::format("a grid of {} x {}", rows, columns),
         fmt::format("{} x {} after interpolation", resized.size(2), resized.size(3)),
         "Use an image size nearer to the one that the positions were learned for, or model.position_resize = exact");
  return at::cat({pos_embed.narrow(1, 0, 1), resized.permute({0, 2, 3, 1}).reshape({1, rows * columns, dim})}, 1);
}

}  // namespace dinoxx
