#include "eval/statistics/statistics.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

using testing::ElementsAre;

TEST(Statistics, RecallByTheNumberOfTrainingImages) {
  // training images 101 (many), 100 and 20 (medium), 19 (few), 500 without test images
  const std::vector<int32_t> labels{0, 0, 1, 2, 2, 2, 2, 3, 3}, predictions{0, 1, 1, 2, 0, 0, 0, 0, 3};
  const Tally t = tally(labels, predictions, 5);
  const std::vector<int64_t> training{101, 100, 20, 19, 500};
  const ShotRecall recall = recall_by_training_count(t, training);
  EXPECT_DOUBLE_EQ(recall.many.value.value(), 0.5);
  EXPECT_DOUBLE_EQ(recall.medium.value.value(), (1.0 + 0.25) / 2);
  EXPECT_DOUBLE_EQ(recall.few.value.value(), 0.5);
  EXPECT_EQ(recall.classes_many, 1);
  EXPECT_EQ(recall.classes_medium, 2);
  EXPECT_EQ(recall.classes_few, 1);
  const ShotRecall no_few = recall_by_training_count(t, std::vector<int64_t>(5, 20));
  EXPECT_FALSE(no_few.few.value);
  EXPECT_NE(no_few.few.reason, "");
  EXPECT_FALSE(no_few.many.value);
}

TEST(Statistics, NoImagesAtAllIsUndefinedEverywhere) {
  const Tally t = tally({}, {}, 3);
  for (const Stat& stat : {accuracy(t), balanced_accuracy(t), macro_f1(t), matthews(t)}) {
    EXPECT_FALSE(stat.value);
    EXPECT_NE(stat.reason, "");
  }
  EXPECT_FALSE(one_against_rest({}, {}, 3).macro_auroc.value);
}

TEST(Statistics, AClassWithoutTestImagesIsLeftOutOfTheMeanAndListed) {
  const std::vector<int32_t> labels{0, 0, 2};
  const std::vector<double> scores{0.9, 0.1, 0.0, 0.4, 0.1, 0.5, 0.3, 0.1, 0.6};
  const Ranking ranking = one_against_rest(labels, scores, 3);
  EXPECT_THAT(ranking.left_out, ElementsAre(1));
  EXPECT_DOUBLE_EQ(ranking.macro_auroc.value.value(), 1.0);
}

TEST(Statistics, JsonHasTheReasonBesideTheNull) {
  nlohmann::json object;
  put(object, "accuracy", Stat::of(0.25));
  put(object, "mcc", Stat::undefined("why"));
  EXPECT_EQ(object, nlohmann::json({{"accuracy", 0.25}, {"mcc", nullptr}, {"undefined", {{"mcc", "why"}}}}));
}

TEST(Statistics, NonsenseIsAnErrorNotAScore) {
  EXPECT_THROW(tally(std::vector<int32_t>{0}, std::vector<int32_t>{3}, 3), Error);
  EXPECT_THROW(tally(std::vector<int32_t>{0}, std::vector<int32_t>{-1}, 3), Error);
  EXPECT_THROW(one_against_rest(std::vector<int32_t>{0}, std::vector<double>{NAN, 0.0}, 2), Error);
}

}  // namespace
}  // namespace dinoxx::eval
