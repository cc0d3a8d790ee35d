#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "eval/run/protocols.hpp"

/// ROC and precision-recall curves of classes that are rare, one class against the rest.
namespace dinoxx::eval {

/// What is found when everything with at least this score is taken for the class.
struct RankingPoint {
  double score;
  int64_t true_positives, false_positives;
};
/// One point for each distinct score, falling: scikit-learn's roc_curve(drop_intermediate=False) without its first point (nothing taken),
/// precision_recall_curve backwards without its last. `scores` [Q] without NaN.
std::vector<RankingPoint> ranking_points(std::span<const double> scores, std::span<const uint8_t> positive);

struct CurvePoint {
  double x, y;
  bool operator==(const CurvePoint&) const = default;
};
/// At most `limit` (>= 2) of the points, the first and the last among them: again and again the one that lies farthest from the line drawn
/// so far (Ramer 1972), until none lies beside it. Points that are kept are not moved.
std::vector<CurvePoint> thin_curve(std::span<const CurvePoint> points, size_t limit);

/// Classes with test images, those of the fewest training images first (at least one; equal: the lower class), at most `count`.
std::vector<int32_t> rarest_classes(const EvalData& data, size_t count);

/// {"rule", "classes": [{name, memory, queries, auroc, auprc, roc: [[false positive rate, recall]], pr: [[recall, precision]],
/// operating_points: [{recall_at_least, threshold, recall, precision, false_positive_rate, answers}]}]} of the rarest classes. `prediction`
/// has probabilities. What is not defined is null, with the reason under "undefined".
nlohmann::json ranking_curves(const Dataset& dataset, const EvalData& data, const Prediction& prediction);

}  // namespace dinoxx::eval
