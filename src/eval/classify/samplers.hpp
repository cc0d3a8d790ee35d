#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace dinoxx::eval {

enum class SamplerKind {
  kUniform,        ///< each image once, shuffled
  kClassBalanced,  ///< as many draws as images, an equal part for each class that has any (class-aware sampling: Shen et al. 2016)
  kRepeatFactor,   ///< each image max(1, sqrt(threshold / share of its class)) times, fractions by chance (Gupta et al. 2019, LVIS)
};

/// Which images an epoch of training on labels shows, in which order: positions in `labels`. A pure function of its arguments, so that all
/// ranks draw the same epoch and each takes its part of every batch.
///
/// kClassBalanced: passes over the classes in shuffled order; each class deals its images from a shuffled pile and shuffles again when the
/// pile is empty. Over N draws each class present gets floor or ceil of N / classes present, and within a class no image is drawn twice
/// before all were once. kRepeatFactor: `threshold` is the share below which a class is repeated; 0 stands for 1 / classes, the share of a
/// class in a balanced set. Its epochs have at least N draws and differ in length. Errors: no images, a label outside [0, classes), a
/// threshold outside [0, 1].
std::vector<uint64_t> draw_epoch(SamplerKind kind, std::span<const int32_t> labels, int classes, uint64_t seed, int64_t epoch,
                                 double threshold = 0);

}  // namespace dinoxx::eval
