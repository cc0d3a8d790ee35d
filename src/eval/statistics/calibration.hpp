#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "statistics.hpp"

/// How far probabilities can be believed.
namespace dinoxx::eval {

/// softmax(logits / temperature) by row. `logits` [N, classes]; minus infinity is probability 0.
std::vector<double> softmax_rows(std::span<const double> logits, int classes, double temperature = 1.0);

inline constexpr int kCalibrationBins = 15;

struct ReliabilityBin {
  int64_t count = 0;
  double confidence = 0, accuracy = 0;  ///< means over the bin
};
/// Bins of the largest probability of each row, by equal mass (rows sorted by it, then by row; bin b holds places floor(b N / bins) up to
/// floor((b + 1) N / bins)) or by equal width
/// ((b / bins, (b + 1) / bins]). Empty bins have count 0.
enum class Binning { kEqualMass, kEqualWidth };
std::vector<ReliabilityBin> reliability(std::span<const int32_t> labels, std::span<const double> probabilities, int classes,
                                        Binning binning, int bins = kCalibrationBins);
/// Expected calibration error (Guo et al. 2017, eq. 3): sum of count / N * |accuracy - confidence|.
double calibration_error(const std::vector<ReliabilityBin>& bins);

/// Class-wise calibration error: for each class the rows are binned by their probability of that class, whatever their largest one is, and
/// sum of count / N * |share of rows of the class - mean probability of it|; then the mean over all classes. With bins of equal width it is
/// Kull et al. 2019, eq. 3; with bins of equal mass, which do not put nearly all rows of a rare class into the lowest bin, Nixon et al. 2019
/// (ACE). Unlike the error of the largest probability it sees a rare class that is always given too little. Classes without images count:
/// whatever probability they get is wrong.
double classwise_calibration_error(std::span<const int32_t> labels, std::span<const double> probabilities, int classes, Binning binning,
                                   int bins = kCalibrationBins);

struct Calibration {
  Stat ece_mass, ece_width;              ///< of 15 bins
  Stat classwise_mass, classwise_width;  ///< of 15 bins for each class
  Stat nll;                  ///< mean -log p(label), nats; undefined when a label has probability 0
  Stat brier;                ///< mean over rows of sum over classes (p - [label])^2, in [0, 2]
};
Calibration calibrate(std::span<const int32_t> labels, std::span<const double> probabilities, int classes);

/// For results.json, of probabilities before and after scaling by `temperature` (`after` is looked at where there is one): before, after
/// {ece_equal_mass, ece_equal_width, classwise_..., nll, brier}, reliability, reliability_after [{images, confidence, accuracy}] by equal
/// mass. Undefined figures are null, with the reason under "undefined".
nlohmann::json describe_calibration(std::span<const int32_t> labels, std::span<const double> before, std::span<const double> after,
                                    const Stat& temperature, int classes);

/// The temperature T in [1/100, 100] of softmax(logits / T) with the smallest mean -log p(label) (Guo et al. 2017, section 4.2). The
/// objective is convex in 1/T: root of its derivative by bisection. Rows whose label has the logit minus infinity are left out. Undefined
/// when no row is left or when the minimum lies at a bound (all rows right by any margin: no finite temperature).
Stat fit_temperature(std::span<const int32_t> labels, std::span<const double> logits, int classes);

}  // namespace dinoxx::eval
