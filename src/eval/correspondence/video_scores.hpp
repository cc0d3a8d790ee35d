#pragma once
#include <cstdint>
#include <optional>
#include <span>

/// How well masks of one object follow it through a video: the measures of DAVIS (Perazzi et al. 2016, section 4; the boundary measure
/// after Martin et al. 2004). Masks are [height, width], any value but 0 is object.
namespace dinoxx::eval {

/// Share of the diagonal by which a boundary may be off.
inline constexpr double kBoundaryTolerance = 0.008;

/// J: intersection over union; 1 when both masks are empty.
double region_similarity(std::span<const uint8_t> truth, std::span<const uint8_t> answer);

/// F: harmonic mean of the share of the answer's boundary pixels that have a boundary pixel of the truth within ceil(tolerance * diagonal)
/// pixels (Euclidean), and the other way round. A pixel is boundary when it differs from its right, lower or lower right neighbour. 1 when
/// neither mask has a boundary, 0 when one of them has none.
double boundary_measure(std::span<const uint8_t> truth, std::span<const uint8_t> answer, int64_t width, int64_t height,
                        double tolerance = kBoundaryTolerance);

/// A measure over the frames of a video.
struct SeriesScores {
  double mean = 0, recall = 0;  ///< recall: share of frames above 0.5
  std::optional<double> decay;  ///< mean of the first quarter less that of the last; for four frames or more
};
/// Neighbouring quarters share a frame, as in the published evaluation. nullopt without frames.
std::optional<SeriesScores> series_scores(std::span<const double> frames);

}  // namespace dinoxx::eval
