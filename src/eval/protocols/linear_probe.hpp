#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

/// The linear evaluation of DINOv2 (Oquab et al. 2023, B.3; dinov2/eval/linear.py): many linear heads with their own learning rates and
/// inputs, trained at once on the same frozen features.
namespace dinoxx::eval {

inline constexpr std::array<double, 13> kProbeRates{1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1};
inline constexpr int kProbeBlocks = 4;
inline constexpr int64_t kProbeBatch = 128;
inline constexpr double kProbeMomentum = 0.9;
inline constexpr int kProbeViews = 5;

/// What a head sees: columns [begin, begin + width) of an image's features [CLS of the last n blocks, earliest first; mean of the last
/// block's patches].
struct HeadInput {
  int blocks = 1;
  bool average = false;  ///< the mean of the patches too
  int64_t begin = 0, width = 0;
};
/// Of a network with features of `dim` that offers `blocks` (at most 4 are used): CLS of the last block, the same with the mean, CLS of the
/// last n, the same with the mean; the first two alone where n is 1.
std::vector<HeadInput> head_inputs(int64_t dim, int blocks);

/// Heads that see the same input, one for each learning rate, as one matrix: an iteration is two products for all of them. Their losses are
/// summed, so that each learns as if it were alone: cross-entropy, SGD with momentum 0.9, no weight decay. Computes in the type of its
/// weights.
class HeadGroup {
 public:
  /// weight [rates, classes, width] and bias [rates, classes]. `rates` are those that SGD sees.
  HeadGroup(const HeadInput& input, std::vector<double> rates, at::Tensor weight, at::Tensor bias);

  /// One step on rows `index` [B] of `features` [N, all columns] with `labels` [B] int64; `decay` multiplies every rate (the cosine).
  void step(const at::Tensor& features, const at::Tensor& index, const at::Tensor& labels, double decay);

  /// [N, all columns] -> [N, rates, classes]
  at::Tensor logits(const at::Tensor& features) const;
  const HeadInput& input() const { return input_; }
  at::Tensor weight() const { return weight_.view({rates_, classes_, input_.width}); }
  at::Tensor bias() const { return bias_.view({rates_, classes_}); }

 private:
  HeadInput input_;
  int64_t rates_, classes_;
  at::Tensor weight_, bias_;                    // [rates * classes, width], [rates * classes]
  at::Tensor weight_momentum_, bias_momentum_;  // the same
  at::Tensor rate_;                             // [rates * classes]
};

/// Weights of a fresh group: normal with deviation 0.01, zero biases (as published); a function of (seed, place of the head, class).
HeadGroup fresh_heads(const HeadInput& input, std::span<const double> rates, int64_t classes, uint64_t seed, int64_t first_head);

/// Iterations for so many training images: 100 passes over them, at least 500 and at most the published 12,500.
int64_t probe_iterations(int64_t images);
/// What iteration t of `iterations` multiplies the rates by: half a cosine from 1 towards 0.
double probe_decay(int64_t t, int64_t iterations);

}  // namespace dinoxx::eval
