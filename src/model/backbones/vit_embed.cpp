// From pixels to tokens: stem, mask token, CLS, registers, learned positions.
#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include "dinoxx/base/error.hpp"
#include "model/layers/pos_embed.hpp"
#include "model/layers/vit_block.hpp"
#include "vit.hpp"

namespace dinoxx {
namespace {

/// Prefix rows and patch rows (with their positions, where there are any), [B, P + N, D], written once. patches [B, N, D], prefix [1, P,
/// D], pos [1, N, D].
class AssembleTokens : public torch::autograd::Function<AssembleTokens> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& patches, const at::Tensor& prefix,
                            const std::optional<at::Tensor>& pos) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const int64_t batch = patches.size(0), n = patches.size(1), dim = patches.size(2), p = prefix.size(1);
    ctx->saved_data["prefix"] = p;
    ctx->saved_data["positions"] = pos.has_value();
    at::Tensor tokens = at::empty({batch, p + n, dim}, patches.options());
    at::Tensor patch_rows = tokens.narrow(1, p, n);
    if (pos)
      at::add_out(patch_rows, patches, *pos);
    else
      patch_rows.copy_(patches);
    tokens.narrow(1, 0, p).copy_(prefix.expand({batch, p, dim}));
    return tokens;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const at::Tensor& grad = grads[0];
    const int64_t p = ctx->saved_data["prefix"].toInt(), n = grad.size(1) - p;
    const at::Tensor sum = grad.sum(0, /*keepdim=*/true);
    const at::Tensor of_pos = ctx->saved_data["positions"].toBool() ? sum.narrow(1, p, n) : at::Tensor();
    return {grad.narrow(1, p, n), sum.narrow(1, 0, p), of_pos};
  }
};

}  // namespace

at::Tensor VisionTransformer::fitted(const at::Tensor& images) const {
  if (images.dim() != 4 || images.size(0) < 1 || images.size(1) != config_.channels)
    fail("vision transformer input", fmt::format("images [B, {}, H, W]", config_.channels),
         fmt::format("{}", fmt::join(images.sizes(), " x ")), "Check the number of channels of the data and of the model");
  const int64_t height = images.size(2), width = images.size(3), patch = config_.patch_size;
  if (height % patch == 0 && width % patch == 0 && height > 0 && width > 0) return images;
  if (config_.fit == "error" || (config_.fit == "crop" && (height < patch || width < patch)))
    fail("vision transformer input", fmt::format("sides that are multiples of the patch size {}", patch),
         fmt::format("{} x {} pixels", height, width), "Change the crop size or the patch size, or ask for padding or cropping");
  if (config_.fit == "crop") return images.narrow(2, 0, height - height % patch).narrow(3, 0, width - width % patch);
  return at::constant_pad_nd(images, {0, (patch - width % patch) % patch, 0, (patch - height % patch) % patch});
}

VisionTransformer::Grid VisionTransformer::grid(const at::Tensor& images) const {
  return {images.size(2) / config_.patch_size, images.size(3) / config_.patch_size};
}

at::Tensor VisionTransformer::embed_patches(const at::Tensor& images) const {
  const int64_t batch = images.size(0), channels = images.size(1), patch = config_.patch_size, dim = config_.dim;
  const auto [rows, columns] = grid(images);
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

at::Tensor VisionTransformer::embed_tokens(const at::Tensor& images, const at::Tensor& masked) const {
  const auto [rows, columns] = grid(images);
  at::Tensor patches = embed_patches(images.contiguous());
  if (masked.defined()) {
    if (!mask_token_.defined())
      fail_usage("masked patches", "a network with a mask token", "one without", "Choose a style that has one (dinov2, dinov3)");
    if (masked.sizes() != patches.sizes().slice(0, 2))
      fail("masked patches", fmt::format("[{}]", fmt::join(patches.sizes().slice(0, 2), ", ")),
           fmt::format("[{}]", fmt::join(masked.sizes(), ", ")), "One flag for each patch of each image");
    patches = at::where(masked.to(at::kBool).unsqueeze(-1), mask_token_.view({1, 1, -1}), patches);
  }
  at::Tensor prefix = cls_token_;
  std::optional<at::Tensor> positions;
  if (pos_embed_.defined()) {
    const at::Tensor pos = resize_pos_embed(pos_embed_, rows, columns, config_.position_offset, config_.position_antialias);
    prefix = prefix + pos.narrow(1, 0, 1);
    positions = pos.narrow(1, 1, rows * columns);
  }
  if (register_tokens_.defined()) prefix = at::cat({prefix, register_tokens_}, 1);
  return AssembleTokens::apply(patches, prefix, positions);
}

}  // namespace dinoxx
