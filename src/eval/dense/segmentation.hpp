#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/classify/logistic.hpp"
#include "eval/run/protocols.hpp"

// The fitting half of the protocol segmentation: patches of images with masks, and a linear classifier of them.
namespace dinoxx::eval::segmentation {

inline constexpr int64_t kTrainImages = 1000, kHeldImages = 500, kPatchesPerImage = 16;
inline constexpr std::array<double, 7> kC{1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100};

/// The two questions: which class, and object or not.
struct Question {
  const char* name;
  int classes;  ///< with the background
  int32_t target(int32_t label_and_one) const { return classes > 2 ? label_and_one : std::min(label_and_one, 1); }
};

/// Masks as the network's input shows them, [ids, crop, crop]; `there` tells which images have one.
struct Masks {
  at::Tensor pixels;
  std::vector<uint8_t> there;
  bool any() const { return std::count(there.begin(), there.end(), 1) > 0; }
  std::span<const uint8_t> of(int64_t i) const {
    const int64_t size = pixels.size(1) * pixels.size(2);
    return {pixels.data_ptr<uint8_t>() + i * size, static_cast<size_t>(size)};
  }
};
Masks read_masks(const Dataset& dataset, std::span<const uint64_t> ids, const EvalTransform& transform);

/// Of the features of one image's patches.
struct Shape {
  int64_t cells, side, dim;
};
Shape shape_of(const ProtocolInput& input);

struct Images {
  std::vector<uint64_t> ids;
  std::vector<int32_t> labels;
};
/// At most `most` of them, which ones is a function of (seed, id). Ascending.
Images thinned(const std::vector<uint64_t>& ids, const std::vector<int32_t>& labels, int64_t most, uint64_t seed);

/// kPatchesPerImage patches of each image that has a mask, drawn by (seed, id); equal on all ranks.
struct Sample {
  at::Tensor features;             ///< [n, D] float32
  std::vector<int32_t> targets;    ///< label + 1, 0 = background
  std::vector<int32_t> image;      ///< which of the images
  std::vector<uint8_t> of_images;  ///< 1 = has a mask
  int64_t images() const { return std::count(of_images.begin(), of_images.end(), 1); }
};
/// Collective.
Sample sample_patches(const ProtocolInput& input, const Images& images, const Shape& shape);

struct Fit {
  LinearModel model;  ///< of features as they come; finite
  double c = 0;
  bool converged = false;
  std::vector<double> scores;  ///< mIoU per value of C on what was held out; empty: nothing could be
};
/// All questions, each fitted by one thread of one rank. C is chosen on `validation`, else on a fifth of `images`; the answer learns from
/// all of `train`. Collective.
std::vector<Fit> fit_all(const ProtocolInput& input, const std::vector<Question>& questions, const Sample& train, const Images& images,
                         const std::optional<Sample>& validation, int64_t dim);

}  // namespace dinoxx::eval::segmentation
