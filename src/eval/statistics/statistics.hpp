#pragma once
#include <cmath>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

/// Scores of a classifier. Each is a number or the reason why it is not defined; nothing is filled in. Where defined they are
/// scikit-learn's (golden test).
namespace dinoxx::eval {

struct Stat {
  std::optional<double> value;
  std::string reason;  ///< why there is no value
  static Stat of(double value) { return {value, ""}; }
  static Stat undefined(std::string why) { return {std::nullopt, std::move(why)}; }
  /// `value`, undefined where it is NaN.
  static Stat unless_nan(double value, std::string why) { return std::isnan(value) ? undefined(std::move(why)) : of(value); }
};
/// object[key] = the value, or null with the reason as object["undefined"][key].
void put(nlohmann::json& object, const std::string& key, const Stat& stat);

/// What predictions amount to: all that the scores below need.
struct Tally {
  int64_t count = 0;
  std::vector<int64_t> support, predicted, correct;  ///< per class: images of it, predictions of it, both
};
/// `labels`, `predictions` [Q] in [0, classes). Error for a prediction outside.
Tally tally(std::span<const int32_t> labels, std::span<const int32_t> predictions, int classes);

Stat accuracy(const Tally& t);
/// Mean recall of the classes that have images.
Stat balanced_accuracy(const Tally& t);
/// Mean F1 of the classes that have images or predictions (a class with predictions alone counts as 0).
Stat macro_f1(const Tally& t);
/// Matthews' correlation of several classes (Gorodkin 2004, R_K). Undefined when all labels or all predictions are one class.
Stat matthews(const Tally& t);

Stat recall(const Tally& t, int c);     ///< undefined without images of the class
Stat precision(const Tally& t, int c);  ///< undefined when the class is never predicted
Stat f1(const Tally& t, int c);         ///< undefined with neither

/// Classes by the number of their training images, as in the literature on long tails (Liu et al. 2019, OLTR): many > 100, medium 20 to
/// 100, few < 20.
inline constexpr int64_t kManyAbove = 100, kFewBelow = 20;
struct ShotRecall {
  Stat many, medium, few;                                     ///< mean recall of the classes with test images
  int classes_many = 0, classes_medium = 0, classes_few = 0;  ///< with test images
};
ShotRecall recall_by_training_count(const Tally& t, std::span<const int64_t> training_images);

/// Area under the ROC curve of `scores` [Q] for `positive` [Q]; ties count half (Mann-Whitney). Undefined without positives or without
/// negatives.
Stat auroc(std::span<const double> scores, std::span<const uint8_t> positive);
/// Average precision: sum over distinct scores of (recall gained) * precision, no interpolation. Undefined without positives, or without
/// negatives (always 1).
Stat average_precision(std::span<const double> scores, std::span<const uint8_t> positive);

struct Ranking {
  std::vector<Stat> auroc, auprc;  ///< per class, one against the rest
  Stat macro_auroc, macro_auprc;   ///< mean of the classes for which they are defined
  std::vector<int> left_out;       ///< the other classes
};
/// `scores` [Q, classes], row-major, larger = more likely; minus infinity allowed, NaN an Error.
Ranking one_against_rest(std::span<const int32_t> labels, std::span<const double> scores, int classes);

}  // namespace dinoxx::eval
