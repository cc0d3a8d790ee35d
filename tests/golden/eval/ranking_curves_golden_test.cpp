// Curves of rare classes against scikit-learn (make_ranking_curves.py).
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <string>
#include <vector>

#include "eval/statistics/ranking_curves.hpp"
#include "eval/statistics/statistics.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

using golden::Fixture;

constexpr double kTolerance = 1e-9;

std::vector<double> doubles(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kDouble).contiguous();
  return {wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()};
}

// Expected rows: threshold, x, y.
void expect_curve(const std::string& name, const at::Tensor& expected, const std::vector<RankingPoint>& points,
                  const std::vector<CurvePoint>& curve) {
  ASSERT_EQ(static_cast<int64_t>(points.size()), expected.size(1)) << name;
  ASSERT_EQ(points.size(), curve.size());
  const std::vector<double> values = doubles(expected);
  for (size_t i = 0; i < points.size(); ++i) {
    EXPECT_NEAR(points[i].score, values[i], kTolerance) << name << " " << i;
    EXPECT_NEAR(curve[i].x, values[points.size() + i], kTolerance) << name << " " << i;
    EXPECT_NEAR(curve[i].y, values[2 * points.size() + i], kTolerance) << name << " " << i;
  }
}

TEST(RankingCurvesGolden, EveryPointAgreesWithScikitLearn) {
  const Fixture file("ranking_curves");
  for (const std::string name : {"rare", "common", "ties", "one"}) {
    const std::vector<double> scores = doubles(file.tensor(name + ".scores"));
    std::vector<uint8_t> positive;
    for (const double p : doubles(file.tensor(name + ".positive"))) positive.push_back(p != 0);
    const std::vector<RankingPoint> points = ranking_points(scores, positive);
    ASSERT_FALSE(points.empty()) << name;
    const double positives = static_cast<double>(points.back().true_positives),
                 negatives = static_cast<double>(points.back().false_positives);
    std::vector<CurvePoint> roc, pr;
    for (const RankingPoint& p : points) {
      const double found = static_cast<double>(p.true_positives), wrong = static_cast<double>(p.false_positives);
      roc.push_back({wrong / negatives, found / positives});
      pr.push_back({found / positives, found / (found + wrong)});
    }
    expect_curve(name + " ROC", file.tensor(name + ".roc"), points, roc);
    expect_curve(name + " PR", file.tensor(name + ".pr"), points, pr);
    const std::vector<double> areas = doubles(file.tensor(name + ".areas"));
    EXPECT_NEAR(auroc(scores, positive).value.value(), areas[0], kTolerance);
    EXPECT_NEAR(average_precision(scores, positive).value.value(), areas[1], kTolerance);
    // what is kept of a curve lies on it, and what its corners enclose is the same when none had to go
    roc.insert(roc.begin(), {0, 0});
    const std::vector<CurvePoint> all = thin_curve(roc, roc.size()), few = thin_curve(roc, 10);
    EXPECT_LE(few.size(), 10u);
    for (const CurvePoint& p : few) EXPECT_THAT(roc, testing::Contains(p));
    double area = 0;
    for (size_t i = 1; i < all.size(); ++i) area += (all[i].x - all[i - 1].x) * (all[i].y + all[i - 1].y) / 2;
    EXPECT_NEAR(area, areas[0], kTolerance) << name;
    EXPECT_LT(all.size(), roc.size());  // points in a row say nothing
  }
}

}  // namespace
}  // namespace dinoxx::eval
