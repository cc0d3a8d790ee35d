#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/normalization.hpp"
#include "blur.hpp"
#include "color.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "resize.hpp"

namespace dinoxx {

/// Which Gaussian blur. Both are equal to their source in the 8-bit result.
enum class BlurKernel {
  kPillow,  ///< Pillow's three box filters (dino, ibot, solo-learn)
  kTorch9,  ///< torchvision's GaussianBlur with 9 taps and reflected edges (dinov2, dinov3)
};

/// How one crop of an image is made. Order: random-resized-crop (bicubic), flip, colour jitter, grayscale, blur, solarise, to float,
/// normalise (facebookresearch/dino main_dino.py, DataAugmentationDINO). All 8-bit steps follow Pillow's arithmetic.
struct ViewSpec {
  std::string name;                         ///< "global1", "global2", "local1", ...
  int size = 224;                           ///< output pixels, square
  double scale_min = 0.4, scale_max = 1.0;  ///< share of the image's area
  double aspect_min = 3.0 / 4.0, aspect_max = 4.0 / 3.0;
  double flip_p = 0.5;
  double jitter_p = 0.8, brightness = 0.4, contrast = 0.4, saturation = 0.2, hue = 0.1;
  double gray_p = 0.2;
  double blur_p = 0.0, blur_sigma_min = 0.1, blur_sigma_max = 2.0;
  BlurKernel blur_kernel = BlurKernel::kPillow;
  double solarize_p = 0.0;
  bool global = true;
  int geometry_of = -1;  ///< index of the view whose draws (crop and flip, and distortions if any) this one shares: a Gram crop
  bool distort = true;   ///< false: no colour, blur or solarise, whatever their probabilities
};

/// All views of one image, views of equal size adjacent, global ones first, Gram crops (geometry_of) last. A
/// default-constructed plan is not a valid one: it has neither views nor a normalisation.
struct ViewPlan {
  std::vector<ViewSpec> views;
  std::optional<Normalization> normalization;  ///< of the finished views; a plan without it is refused (check_view_plan)
  double share = 1;                            ///< of the batches, where a loader has several plans; of the sum of all shares
  int global_count() const;
  int gram_count() const;  ///< views with geometry_of, which neither student nor EMA teacher sees
  /// One line per run of equal views, for run reports: size, scale, probabilities.
  std::string describe() const;
};

struct DinoViewOptions {
  int global_size = 224, local_size = 96, local_count = 8;
  double global_scale_min = 0.4, global_scale_max = 1.0, local_scale_min = 0.05, local_scale_max = 0.4;
  bool blur = true;
};
/// The augmentation of DINO v1: the profile "dino-v1" (view_profiles.hpp).
ViewPlan dino_v1_views(const DinoViewOptions& options);

/// A view of `size` pixels with the geometry of view `of` of the plan, for the Gram teacher; `distort`: with its distortions too. Published
/// code resizes the crop twice, to the larger of the two sizes and from there; here each view is resized once, from the image. With
/// `distort` it blurs before the second resize, here the blur has the same sigma in pixels of either view.
ViewSpec gram_view(const ViewPlan& plan, int of, int size, bool distort);

/// UsageError when there is no normalisation, and when a view cannot be made: sizes, ranges, probabilities, a blur kernel larger than the
/// view, a Gram crop whose geometry is not that of an earlier view.
void check_view_plan(const ViewPlan& plan);

/// What was drawn for one view of one sample. Everything that is random about it.
struct ViewDraw {
  Box crop;
  bool flip = false;
  std::optional<ColorJitter> jitter;
  bool gray = false;
  std::optional<float> blur_sigma;
  bool solarize = false;
};

/// The draws of view `view_index` for a sample of width x height at global position `position`: counter RNG with purposes kCrop, kColor,
/// kBlur, so a pure function. A view with geometry_of draws what that view draws. Crop as torchvision's RandomResizedCrop: ten tries of
/// area U(scale) and log-uniform aspect, sizes rounded half to even, then a central fallback.
ViewDraw draw_view(int width, int height, const ViewSpec& view, uint64_t seed, uint64_t position, uint32_t view_index);

/// Memory for render_view, one per thread; nothing is allocated once it has seen the largest sizes.
struct ViewScratch {
  PlanarScratch planes;
  ResizeScratch resize;
  ScratchBuffer<uint8_t> blur;
};

/// Executes a draw. Writes [3, view.size, view.size] floats.
void render_view(const SourceImage& source, const ViewDraw& draw, const ViewSpec& view, const Normalization& normalization,
                 ViewScratch& scratch, float* out);

/// The same before normalisation: [3, view.size, view.size] bytes.
void render_view_bytes(const SourceImage& source, const ViewDraw& draw, const ViewSpec& view, ViewScratch& scratch, uint8_t* out);
/// What normalises bytes: a byte times scale, plus shift, is the value that render_view gives. Of each channel.
struct ChannelScale {
  std::array<float, 3> scale, shift;
};
ChannelScale channel_scale(const Normalization& normalization);

/// The 8-bit half of render_view, before normalisation (for tests and pictures). Returned planes live in `scratch`.
PlanarImage render_view_u8(const SourceImage& source, const ViewDraw& draw, const ViewSpec& view, ViewScratch& scratch);

/// Makes view `view_index` of the sample at global position `position`: a pure function of its arguments. Writes [3, size, size] floats.
void make_view(const Image& image, const ViewSpec& view, const Normalization& normalization, uint64_t seed, uint64_t position,
               uint32_t view_index, float* out);

/// Evaluation transform: resize the short side to `resize` (bicubic, Pillow), centre-crop `crop`, normalise. resize == 0: resize to crop x
/// crop only if sizes differ.
struct EvalTransform {
  int resize = 256, crop = 224;
};
void make_eval_view(const Image& image, const EvalTransform& transform, const Normalization& normalization, float* out);

}  // namespace dinoxx
