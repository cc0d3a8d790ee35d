#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dinoxx {

/// Rotary positions (Su et al. 2021) on a 2-D grid, as DINOv3 has them (facebookresearch/dinov3 layers/rope_position_encoding.py).
struct RopeConfig {
  double base = 100;                             ///< periods base^(4 i / head_dim), i = 0 .. head_dim / 4 - 1
  std::optional<double> min_period, max_period;  ///< both: periods from the one to the other in equal ratios instead
  std::string coords = "separate";               ///< what a side of patch centres is divided by: "separate" its own length, "max", "min"
  bool bf16_periods = false;                     ///< periods rounded to bfloat16, as the released official weights have them
  /// Training only, drawn anew for each block and crop size: shift of both axes by U(-shift, shift); each axis times exp U(-ln j, ln j);
  /// both times one exp U(-ln r, ln r). 0: off.
  double shift = 0, jitter = 0, rescale = 0;
};

/// Activation checkpointing: what of which blocks is computed again in the backward pass instead of being kept.
struct Recompute {
  std::string part = "none";  ///< "attention": of a block what lies between the normed tokens and the projection behind attention; "block"
  int every = 1;              ///< of so many consecutive blocks the first
  /// Of a block: "none", "attention" or "block".
  std::string of(int64_t block) const { return block % every == 0 ? part : "none"; }
  bool operator==(const Recompute&) const = default;
};

/// A vision transformer of the DINO family.
struct VitConfig {
  int image_size = 224;  ///< size for which positions are learned; other sizes interpolate them
  int patch_size = 16;
  int channels = 3;
  int dim = 384, depth = 12, heads = 6;
  double mlp_ratio = 4.0;
  double drop_path = 0.0;  ///< stochastic depth
  double norm_eps = 1e-6;
  std::string stem = "patch";  ///< "patch": one p x p convolution; "conv": 3x3 stride-2 convolutions (early convolutions, Xiao et al. 2021)
                               ///< down to the same grid

  std::string ffn = "mlp";  ///< "mlp": two linear layers with GELU; "swiglu": silu(W1 x) * W2 x, then W3
  int ffn_align = 8;        ///< swiglu: its hidden width is two thirds of the MLP's, rounded up to a multiple of this
  int ffn_hidden = 0;       ///< hidden width itself; 0: from mlp_ratio
  int registers = 0;        ///< extra tokens behind CLS, without position (Darcet et al. 2023); "storage tokens" of DINOv3
  bool mask_token = false;  ///< a learned value for masked patches
  double layer_scale = 0;   ///< initial gain of each branch (Touvron et al. 2021); 0: none
  bool qkv_bias = true;
  bool mask_key_bias = false;          ///< the keys' part of the qkv bias counts as 0
  bool final_norm = true;              ///< false: what stands behind the last block is what the network says (C-RADIO)
  bool untied_cls_norm = false;        ///< a final norm of its own for CLS and registers
  bool untied_local_cls_norm = false;  /// one for CLS and registers of local crops in training
  double token_std = 0.02;             ///< initial CLS and registers

  std::string positions = "learned";  ///< or "rope"
  double position_offset = 0.1;       ///< learned: added to the target grid before the scale is computed; 0: scale by exact sizes
  bool position_antialias = false;    ///< learned: antialiased bicubic
  RopeConfig rope;

  std::string drop_path_rule = "linear";  ///< rate per block: "linear" from 0 to drop_path (DINO v1) or "uniform" (v2, v3)
  std::string drop_path_form = "mask";    ///< "mask": each sample by its own draw; "subset": a fixed share of samples runs (v2, v3)
  int drop_path_group = 0;                ///< subset: consecutive slots among which the share is kept, a divisor of the local batch; 0: all
  std::string fit = "error";              ///< images whose sides no patch divides: "error", "crop" or "pad" (right and below; with zeros)
  Recompute recompute;

  /// Hidden width of the feed-forward part.
  int hidden_dim() const;
  /// Tokens in front of the patches.
  int prefix() const { return 1 + registers; }
};

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};
/// Parameters of the network in order of execution, under the names that VisionTransformer documents.
std::vector<NamedShape> vit_parameters(const VitConfig& config);

/// Names of the sizes: vit_tiny, vit_small, vit_small_plus, vit_base, vit_large, vit_large_plus, vit_so400m, vit_huge_plus, vit_giant2,
/// vit_7b.
std::vector<std::string> vit_archs();
/// Names of the styles: dino, dinov2, dinov2_reg, dinov3.
std::vector<std::string> vit_styles();

/// A size by its name in a style: what the published networks have (dino_family.md 1.3, 2.5, 3.6). Patch size, image size and channels stay
/// at their defaults for the caller to set. UsageError for an unknown name, with the nearest one.
///
///   style       positions              tokens            blocks
///   dino        learned, offset 0.1    CLS               LayerNorm 1e-6, MLP
///   dinov2      learned, offset 0.1    CLS, mask         + LayerScale; giant2: SwiGLU
///   dinov2_reg  learned, antialiased   + 4 registers     as dinov2
///   dinov3      rotary                 + 4 registers     LayerNorm 1e-5, LayerScale, key bias masked; plus sizes, huge_plus and 7b: SwiGLU
VitConfig vit_config(const std::string& arch, const std::string& style = "dino");

/// Error when there is no such network: divisors, ranges, names. Called by the constructor of VisionTransformer.
void check_vit_config(const VitConfig& config);

}  // namespace dinoxx
