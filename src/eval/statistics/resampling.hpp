#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "statistics.hpp"

/// How sure a score is, and whether two methods differ. Nothing here looks at features: labels and predictions only.
namespace dinoxx::eval {

inline constexpr int kResamples = 2000;

/// Linear interpolation between order statistics, as numpy.percentile. `sorted` ascending and not empty, q in [0, 1].
double quantile(std::span<const double> sorted, double q);

struct Interval {
  double low = 0, high = 0;
};

/// How test images are drawn with replacement. Without groups each class keeps its number of images (stratified); with groups (any nonzero)
/// whole groups are drawn, as many as there are, because images of one patient or plot are not independent; group 0 is an image by
/// itself.
class Resampler {
 public:
  Resampler(std::span<const int32_t> labels, std::span<const uint64_t> groups, int classes, uint64_t seed);
  /// How often each row is drawn in resample `index`: a function of (seed, index) and the labels or groups alone.
  std::vector<uint32_t> counts(int64_t index) const;
  bool by_group() const { return by_group_; }

 private:
  std::vector<std::vector<uint32_t>> units_;       // rows that are drawn together
  std::vector<std::pair<size_t, size_t>> strata_;  // [begin, end) of units_
  size_t rows_ = 0;
  uint64_t seed_;
  bool by_group_ = false;
};

/// The scores that intervals are given for, in this order.
inline constexpr int kResampledScores = 4;
inline constexpr std::array<const char*, kResampledScores> kResampledNames{"accuracy", "balanced_accuracy", "macro_f1", "mcc"};
/// Of one resample; NaN where a score is undefined.
std::array<double, kResampledScores> resampled_scores(std::span<const int32_t> labels, std::span<const int32_t> predictions,
                                                      std::span<const uint32_t> counts, int classes);

/// Percentile interval at 95 % of values that are not NaN, or the reason why there is none: fewer than half of the values are defined, or
/// those from one end of the interval to the other are equal (but for rounding): resamples that do not vary tell nothing of the spread.
struct PercentileInterval {
  std::optional<Interval> value;
  std::string reason;  ///< why there is no interval
};
PercentileInterval percentile_interval(std::vector<double> values);
/// object[key] = [low, high], or null with the reason as object["undefined"][key].
void put(nlohmann::json& object, const std::string& key, const PercentileInterval& interval);

/// What an interval of the balanced accuracy does not see: a class whose images all have the same value (0 wrong, 1 right; of two methods
/// the difference) is the same in every resample, above all a class of one image. `values` [N] beside `labels` [N]. Returns a sentence, or
/// nothing where the classes' Wilson intervals, taken as independent, leave less than half a point of the mean recall open.
std::string note_on_spread(std::span<const int32_t> labels, std::span<const int8_t> values, int classes);

struct McNemar {
  int64_t only_first = 0, only_second = 0;  ///< test images that one method alone has right
  double p = 1;                             ///< exact, two-sided: min(1, 2 P(X <= smaller)), X ~ Binomial(only_first + only_second, 1/2)
};
/// Do two methods have the same share of right predictions? (McNemar 1947, exact form.) Assumes independent test images.
McNemar mcnemar(std::span<const int32_t> labels, std::span<const int32_t> first, std::span<const int32_t> second);

struct MeanInterval {
  double mean = 0;
  Stat half_width;       ///< at 95 %; undefined for fewer than two values
  double deviation = 0;  ///< standard deviation of the values (n - 1), 0 for one
};
/// mean +- t(0.975, n - 1) * s * sqrt(1 / n + test_share), where test_share is (test images) / (training images) of one split: the
/// corrected resampled t interval for repeated cross-validation, whose splits share training images (Nadeau and Bengio 2003, eq. 8).
/// test_share = 0 is the ordinary t interval for independent values.
MeanInterval t_interval(std::span<const double> values, double test_share = 0);

}  // namespace dinoxx::eval
