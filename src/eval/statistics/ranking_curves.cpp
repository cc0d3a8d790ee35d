#include "ranking_curves.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>
#include <tuple>

#include "statistics.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr size_t kClasses = 5, kPoints = 100;
constexpr double kRecalls[] = {0.5, 0.8, 0.9, 0.95};

// Of a point from the line through a and b; from a where these are one.
double distance(const CurvePoint& p, const CurvePoint& a, const CurvePoint& b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length = std::hypot(dx, dy);
  return length == 0 ? std::hypot(p.x - a.x, p.y - a.y) : std::abs(dy * (p.x - a.x) - dx * (p.y - a.y)) / length;
}

json pairs(const std::vector<CurvePoint>& points) {
  json result = json::array();
  for (const CurvePoint& p : points) result.push_back({p.x, p.y});
  return result;
}

json operating_points(const std::vector<RankingPoint>& points, int64_t positives, int64_t negatives) {
  json table = json::array();
  for (const double wanted : kRecalls) {
    const auto enough = [&](const RankingPoint& p) {
      return static_cast<double>(p.true_positives) >= wanted * static_cast<double>(positives);
    };
    const RankingPoint& p = *std::find_if(points.begin(), points.end(), enough);  // the last point has all
    const double taken = static_cast<double>(p.true_positives + p.false_positives);
    table.push_back({{"recall_at_least", wanted},
                     {"threshold", p.score},
                     {"recall", static_cast<double>(p.true_positives) / static_cast<double>(positives)},
                     {"precision", static_cast<double>(p.true_positives) / taken},
                     {"false_positive_rate", static_cast<double>(p.false_positives) / static_cast<double>(negatives)},
                     {"answers", p.true_positives + p.false_positives}});
  }
  return table;
}

json curves_of(std::span<const double> scores, std::span<const uint8_t> positive) {
  json result = json::object();
  const Stat area = auroc(scores, positive);
  put(result, "auroc", area);
  put(result, "auprc", average_precision(scores, positive));
  if (!area.value) {
    for (const char* key : {"roc", "pr", "operating_points"}) put(result, key, Stat::undefined(area.reason));
    return result;
  }
  const std::vector<RankingPoint> points = ranking_points(scores, positive);
  const int64_t positives = points.back().true_positives, negatives = points.back().false_positives;
  std::vector<CurvePoint> roc{{0, 0}}, pr;
  for (const RankingPoint& p : points) {
    const double found = static_cast<double>(p.true_positives), wrong = static_cast<double>(p.false_positives);
    roc.push_back({wrong / static_cast<double>(negatives), found / static_cast<double>(positives)});
    pr.push_back({found / static_cast<double>(positives), found / (found + wrong)});
  }
  result["roc"] = pairs(thin_curve(roc, kPoints));
  result["pr"] = pairs(thin_curve(pr, kPoints));
  result["operating_points"] = operating_points(points, positives, negatives);
  return result;
}

}  // namespace

std::vector<RankingPoint> ranking_points(std::span<const double> scores, std::span<const uint8_t> positive) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  std::vector<RankingPoint> points;
  for (const size_t row : order) {
    if (points.empty() || points.back().score != scores[row])
      points.push_back(points.empty() ? RankingPoint{scores[row], 0, 0}
                                      : RankingPoint{scores[row], points.back().true_positives, points.back().false_positives});
    ++(positive[row] ? points.back().true_positives : points.back().false_positives);
  }
  return points;
}

std::vector<CurvePoint> thin_curve(std::span<const CurvePoint> points, size_t limit) {
  constexpr double kBeside = 1e-12;  // less is rounding
  if (points.size() <= 2) return {points.begin(), points.end()};
  // farthest first; equal: the earlier
  using Candidate = std::tuple<double, size_t, size_t, size_t>;  // distance, place, begin, end
  const auto less = [](const Candidate& a, const Candidate& b) {
    return std::get<0>(a) != std::get<0>(b) ? std::get<0>(a) < std::get<0>(b) : std::get<1>(a) > std::get<1>(b);
  };
  std::priority_queue<Candidate, std::vector<Candidate>, decltype(less)> farthest(less);
  const auto offer = [&](size_t begin, size_t end) {
    Candidate best{kBeside, begin, begin, end};
    for (size_t i = begin + 1; i < end; ++i)
      if (const double d = distance(points[i], points[begin], points[end]); d > std::get<0>(best)) best = {d, i, begin, end};
    if (std::get<1>(best) != begin) farthest.push(best);
  };
  std::vector<size_t> kept{0, points.size() - 1};
  offer(0, points.size() - 1);
  while (kept.size() < limit && !farthest.empty()) {
    const auto [d, place, begin, end] = farthest.top();
    farthest.pop();
    kept.push_back(place);
    offer(begin, place);
    offer(place, end);
  }
  std::sort(kept.begin(), kept.end());
  std::vector<CurvePoint> result;
  for (const size_t i : kept) result.push_back(points[i]);
  return result;
}

std::vector<int32_t> rarest_classes(const EvalData& data, size_t count) {
  const std::vector<int64_t> memory = class_counts(data.memory_labels, data.classes),
                             queries = class_counts(data.query_labels, data.classes);
  std::vector<int32_t> classes;
  for (int32_t c = 0; c < data.classes; ++c)
    if (memory[c] > 0 && queries[c] > 0) classes.push_back(c);
  std::stable_sort(classes.begin(), classes.end(), [&](int32_t a, int32_t b) { return memory[a] < memory[b]; });
  classes.resize(std::min(classes.size(), count));
  return classes;
}

json ranking_curves(const Dataset& dataset, const EvalData& data, const Prediction& prediction) {
  json result = {
      {"rule", fmt::format("the {} classes of the fewest training images (at least one) among those with test images, each against "
                           "the rest; at most {} points of a curve, those that bend it most, none moved",
                           kClasses, kPoints)},
      {"classes", json::array()}};
  const std::vector<int64_t> memory = class_counts(data.memory_labels, data.classes);
  for (const int32_t c : rarest_classes(data, kClasses)) {
    std::vector<double> scores;
    std::vector<uint8_t> positive;
    for (size_t q = 0; q < data.query_labels.size(); ++q) {
      scores.push_back(prediction.probabilities[q * static_cast<size_t>(data.classes) + static_cast<size_t>(c)]);
      positive.push_back(data.query_labels[q] == c);
    }
    json row = {{"name", class_name(dataset, c)}, {"memory", memory[c]}, {"queries", std::count(positive.begin(), positive.end(), 1)}};
    row.update(curves_of(scores, positive));
    result["classes"].push_back(std::move(row));
  }
  return result;
}

}  // namespace dinoxx::eval
