#include "eval/classify/folds.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "eval/classify/lbfgs.hpp"

namespace dinoxx::eval {
namespace {

using testing::ElementsAre;

std::vector<uint64_t> numbers(size_t count) {
  std::vector<uint64_t> ids(count);
  std::iota(ids.begin(), ids.end(), uint64_t{100});
  return ids;
}

std::vector<int32_t> repeated(const std::vector<int>& counts) {
  std::vector<int32_t> labels;
  for (size_t c = 0; c < counts.size(); ++c) labels.insert(labels.end(), counts[c], static_cast<int32_t>(c));
  return labels;
}

TEST(Folds, EachClassIsSpreadEvenlyAndASingleImageIsAlwaysLearnedFrom) {
  const std::vector<int32_t> labels = repeated({52, 11, 3, 1, 0});
  const std::vector<int> folds = stratified_folds(numbers(labels.size()), labels, {}, 5, 5, 1);
  std::map<std::pair<int, int>, int> count;
  for (size_t i = 0; i < labels.size(); ++i) ++count[{labels[i], folds[i]}];
  for (int f = 0; f < 5; ++f) {
    EXPECT_GE((count[{0, f}]), 10);
    EXPECT_LE((count[{0, f}]), 11);
    EXPECT_GE((count[{1, f}]), 2);
    EXPECT_LE((count[{1, f}]), 3);
    EXPECT_LE((count[{2, f}]), 1);
  }
  EXPECT_EQ((count[{3, -1}]), 1);
  EXPECT_EQ(folds, stratified_folds(numbers(labels.size()), labels, {}, 5, 5, 1));
  EXPECT_NE(folds, stratified_folds(numbers(labels.size()), labels, {}, 5, 5, 2));
  EXPECT_NE(folds, stratified_folds(numbers(labels.size()), labels, {}, 5, 5, 1, 1));
}

TEST(Folds, AGroupIsInOneFoldAndAClassOfOneGroupIsAlwaysLearnedFrom) {
  const std::vector<int32_t> labels = repeated({40, 40, 6});
  std::vector<uint64_t> groups;
  for (size_t i = 0; i < labels.size(); ++i) groups.push_back(labels[i] == 2 ? 99 : 1 + i / 4);
  const std::vector<int> folds = stratified_folds(numbers(labels.size()), labels, groups, 3, 5, 1);
  std::map<uint64_t, std::set<int>> of_group;
  std::map<std::pair<int, int>, int> count;
  for (size_t i = 0; i < labels.size(); ++i) {
    of_group[groups[i]].insert(folds[i]);
    ++count[{labels[i], folds[i]}];
  }
  for (const auto& [group, used] : of_group) EXPECT_EQ(used.size(), 1u) << group;
  EXPECT_THAT(of_group[99], ElementsAre(-1));
  for (int f = 0; f < 5; ++f) EXPECT_EQ((count[{0, f}]), 8);
}

TEST(Shots, FewerShotsOfADrawArePartOfMoreAndClassesGiveWhatTheyHave) {
  const std::vector<int32_t> labels = repeated({10, 3, 0, 6});
  const std::vector<uint64_t> ids = numbers(labels.size());
  const std::vector<int64_t> two = draw_shots(ids, labels, 4, 2, 0, 3), four = draw_shots(ids, labels, 4, 4, 0, 3);
  EXPECT_EQ(two.size(), 6u);
  EXPECT_EQ(four.size(), 4u + 3u + 4u);
  EXPECT_TRUE(std::includes(four.begin(), four.end(), two.begin(), two.end()));
  EXPECT_NE(two, draw_shots(ids, labels, 4, 2, 0, 4));
  EXPECT_EQ(draw_shots(ids, labels, 4, 100, 0, 0).size(), labels.size());
  std::vector<bool> eligible(labels.size());
  eligible[two[0]] = true;  // all others are copies of images that come first
  EXPECT_THAT(draw_shots(ids, labels, 4, 2, 0, 3, eligible), ElementsAre(two[0]));
}

TEST(Shots, AreOfAsManyGroupsAsThereAre) {
  const std::vector<int32_t> labels = repeated({12});
  const std::vector<uint64_t> ids = numbers(labels.size()), units{7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 0, 0};  // a patient with nine images
  for (uint64_t draw = 0; draw < 5; ++draw) {
    const std::vector<int64_t> four = draw_shots(ids, labels, 1, 4, 0, draw, {}, units),
                               six = draw_shots(ids, labels, 1, 6, 0, draw, {}, units);
    EXPECT_EQ(std::count_if(four.begin(), four.end(), [](int64_t row) { return row < 9; }), 1) << draw;
    EXPECT_THAT(four, testing::IsSupersetOf({9, 10, 11}));
    EXPECT_EQ(six.size(), 6u) << "then second images";
    EXPECT_TRUE(std::includes(six.begin(), six.end(), four.begin(), four.end()));
  }
  EXPECT_THAT(one_of_each_unit_first({3, 1, 10, 9, 11, 0}, units), ElementsAre(3, 10, 9, 11, 1, 0));
}

// x^4 + 1000 (y - x)^2 + y, convex; the least value is where 4 x^3 = -1.
double valley(std::span<const double> v, std::span<double> g) {
  const double x = v[0], y = v[1];
  g[0] = 4 * x * x * x - 2000 * (y - x);
  g[1] = 2000 * (y - x) + 1;
  return x * x * x * x + 1000 * (y - x) * (y - x) + y;
}

TEST(Lbfgs, FindsTheBottomOfAValleyAndSaysWhenItDidNot) {
  const std::vector<double> scale{1.0, 1.0};
  std::vector<double> x{3.0, -2.0};
  const LbfgsResult result = minimize(valley, x, scale, {.tolerance = 1e-14});
  EXPECT_TRUE(result.converged);
  EXPECT_NEAR(x[0], -std::cbrt(0.25), 1e-6);
  EXPECT_NEAR(x[1], x[0] - 1.0 / 2000, 1e-6);
  std::vector<double> early{3.0, -2.0};
  const LbfgsResult cut = minimize(valley, early, scale, {.max_iterations = 2});
  EXPECT_FALSE(cut.converged);
  EXPECT_EQ(cut.iterations, 2);
}

}  // namespace
}  // namespace dinoxx::eval
