#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace dinoxx {

/// A stretch of training: "10ep" (passes over the training images, fractions allowed), "5000it" (optimizer steps) or "64000samples" (images
/// over all ranks, whatever the batch). "0" needs no unit.
struct Duration {
  enum class Unit { kEpochs, kSteps, kSamples };
  double value = 0;
  Unit unit = Unit::kSteps;

  /// Throws std::invalid_argument with what was expected for anything else, negative values included.
  static Duration parse(std::string_view text);
  std::string text() const;
  /// floor(epochs * images / batch), floor(samples / batch) or the steps themselves. An epoch need not be a whole number of batches.
  int64_t steps(uint64_t images, int64_t global_batch) const;
  /// Whether one of the periods of this length ends with step `step` (the first is 1): for epochs and samples the step in which that image
  /// is seen. Never for 0.
  bool ends_with(int64_t step, uint64_t images, int64_t global_batch) const;
  bool operator==(const Duration&) const = default;
};

/// Wall-clock seconds from "11h", "90m", "30s", "1h30m" or a plain number of seconds. Throws std::invalid_argument.
double parse_wall_time(std::string_view text);

}  // namespace dinoxx
