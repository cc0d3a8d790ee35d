#include "dinoxx/model/vit.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "cls_block.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/core/rng.hpp"
#include "pos_embed.hpp"

namespace dinoxx {
namespace {

/// CLS row and patch rows with their positions, [B, 1 + N, D], written once. cls [1, 1, D], pos [1, 1 + N, D], patches [B, N, D].
class AssembleTokens : public torch::autograd::Function<AssembleTokens> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& patches, const at::Tensor& cls,
                            const at::Tensor& pos) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const int64_t batch = patches.size(0), n = patches.size(1), dim = patches.size(2);
    at::Tensor tokens = at::empty({batch, n + 1, dim}, patches.options());
    at::Tensor patch_rows = tokens.narrow(1, 1, n);
    at::add_out(patch_rows, patches, pos.narrow(1, 1, n));
    tokens.narrow(1, 0, 1).copy_((cls + pos.narrow(1, 0, 1)).expand({batch, 1, dim}));
    return tokens;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const at::Tensor& grad = grads[0];
    const at::Tensor pos = grad.sum(0, /*keepdim=*/true);
    return {grad.narrow(1, 1, grad.size(1) - 1), pos.narrow(1, 0, 1), pos};
  }
};

}  // namespace

at::Tensor VisionTransformer::embed_patches(const at::Tensor& images) const {
  const int64_t batch = images.size(0), channels = images.size(1), patch = config_.patch_size;
  const int64_t rows = images.size(2) / patch, columns = images.size(3) / patch, dim = config_.dim;
  if (stem_.empty()) {
    // the convolution as one product: [B, C, h, p, w, p] -> [B, h, w, C, p, p]; copy and conversion in one pass
    const at::Tensor cut = images.view({batch, channels, rows, patch, columns, patch}).permute({0, 2, 4, 1, 3, 5});
    const at::Tensor pixels = at::empty(cut.sizes(), images.options().dtype(dtype_)).copy_(cut);
    return ops::linear(pixels.view({batch, rows * columns, channels * patch * patch}), patch_weight_.view({dim, channels * patch * patch}),
                       patch_bias_);
  }
  // channels last throughout, so that the normalisation over channels sees contiguous rows without a copy
  at::Tensor x = images.to(dtype_).contiguous(at::MemoryFormat::ChannelsLast);
  for (const StemLayer& layer : stem_) {
    x = at::conv2d(x, layer.conv_weight.contiguous(at::MemoryFormat::ChannelsLast), {}, 2, 1);
    x = x.permute({0, 2, 3, 1}).contiguous();  // [B, h, w, C]
    x = ops::gelu(ops::layer_norm(x, layer.norm_weight, layer.norm_bias, config_.norm_eps)).permute({0, 3, 1, 2});
  }
  return ops::linear(x.permute({0, 2, 3, 1}).reshape({batch, rows * columns, dim}), patch_weight_.view({dim, dim}), patch_bias_);
}

at::Tensor VisionTransformer::embed_tokens(const at::Tensor& images) const {
  if (images.dim() != 4 || images.size(0) < 1 || images.size(1) != config_.channels)
    fail("vision transformer input", fmt::format("images [B, {}, H, W]", config_.channels),
         fmt::format("{}", fmt::join(images.sizes(), " x ")), "Check the number of channels of the data and of the model");
  const int64_t height = images.size(2), width = images.size(3), patch = config_.patch_size;
  if (height < patch || width < patch || height % patch != 0 || width % patch != 0)
    fail("vision transformer input", fmt::format("sides that are multiples of the patch size {}", patch),
         fmt::format("{} x {} pixels", height, width), "Change the crop size or the patch size");
  return AssembleTokens::apply(embed_patches(images.contiguous()), cls_token_, resize_pos_embed(pos_embed_, height / patch, width / patch));
}

at::Tensor VisionTransformer::drop_scale(const RowOrigin* origin, int64_t rows, size_t block, int branch) const {
  // linspace(0, rate, depth)
  const double rate = config_.depth > 1 ? config_.drop_path * static_cast<double>(block) / (config_.depth - 1) : 0.0;
  if (!origin || rate == 0.0) return {};
  const auto slots = static_cast<int64_t>(origin->positions.size());
  if (slots == 0 || rows % slots != 0)
    fail("stochastic depth", fmt::format("a multiple of the batch size {}", slots), fmt::format("{} rows", rows), "Rows are [view][slot]");
  at::Tensor scale = at::empty({rows}, at::kDouble);
  double* out = scale.data_ptr<double>();
  for (int64_t row = 0; row < rows; ++row) {
    const auto view = static_cast<uint32_t>(origin->first_view + row / slots);
    const uint32_t lane = view * 256 + 2 * static_cast<uint32_t>(block) + static_cast<uint32_t>(branch);
    CounterRng rng(origin->seed, origin->positions[static_cast<size_t>(row % slots)], lane, Purpose::kDropPath);
    out[row] = rng.uniform() < rate ? 0.0 : 1.0 / (1.0 - rate);
  }
  return scale.to(cls_token_.options().dtype(dtype_ == at::kDouble ? at::kDouble : at::kFloat));
}

at::Tensor VisionTransformer::run_blocks(at::Tensor x, const RowOrigin* origin, size_t count) const {
  for (size_t i = 0; i < count; ++i)
    x = ops::transformer_block(x, blocks_[i], config_.heads, config_.norm_eps, drop_scale(origin, x.size(0), i, 0),
                               drop_scale(origin, x.size(0), i, 1));
  return x;
}

at::Tensor VisionTransformer::forward(const at::Tensor& images, const RowOrigin* origin) const {
  const size_t last = blocks_.size() - 1;
  const at::Tensor x = run_blocks(embed_tokens(images), origin, last);
  const at::Tensor cls = cls_block(x, blocks_[last], config_.heads, config_.norm_eps, drop_scale(origin, x.size(0), last, 0),
                                   drop_scale(origin, x.size(0), last, 1));
  return ops::layer_norm(cls, norm_weight_, norm_bias_, config_.norm_eps);
}

at::Tensor VisionTransformer::forward_tokens(const at::Tensor& images, const RowOrigin* origin) const {
  return ops::layer_norm(run_blocks(embed_tokens(images), origin, blocks_.size()), norm_weight_, norm_bias_, config_.norm_eps);
}

}  // namespace dinoxx
