// Classes that have an order: which, and how far off answers are.
#include "eval/ordered/ordered.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(ClassRanks, FollowNumbersOrTheListThatIsGiven) {
  EXPECT_THAT(class_ranks({"10", "9", "2"}, "numbers"), ElementsAre(2, 1, 0)) << "not as text";
  EXPECT_THAT(class_ranks({"grade 3", "grade 1", "grade 2.5"}, "numbers"), ElementsAre(2, 0, 1));
  EXPECT_THAT(class_ranks({"0", "-1.5", "1"}, "numbers"), ElementsAre(1, 0, 2));
  EXPECT_THAT(class_ranks({"T-2", "T-1", "T-3"}, "numbers"), ElementsAre(1, 0, 2)) << "a hyphen in a name is no minus";
  EXPECT_THAT(class_ranks({"high", "low", "middle"}, "low,middle,high"), ElementsAre(2, 0, 1));
  const auto refused = [](const std::vector<std::string>& names, const std::string& order, const std::string& why) {
    EXPECT_THAT([&] { class_ranks(names, order); }, ThrowsMessage<UsageError>(HasSubstr(why)));
  };
  refused({"1", "two", "3"}, "numbers", "class names that are numbers or end in one, found \"two\"");
  refused({"a 1", "b 1", "c 2"}, "numbers", "a number of its own for each class");
  refused({"a", "b"}, "a,b", "at least three classes");
  refused({"low", "middle", "high"}, "low,midle,high", "Did you mean middle?");
  refused({"low", "middle", "high"}, "low,high", "no \"middle\"");
  refused({"low", "middle", "high"}, "low,middle,high,low", "\"low\" twice");
}

// Kappa of the table of counts, as Cohen (1968) writes it.
double kappa_of_table(const std::vector<std::vector<double>>& table) {
  const size_t k = table.size();
  double n = 0, observed = 0, expected = 0;
  std::vector<double> rows(k), columns(k);
  for (size_t i = 0; i < k; ++i)
    for (size_t j = 0; j < k; ++j) {
      n += table[i][j];
      rows[i] += table[i][j];
      columns[j] += table[i][j];
    }
  for (size_t i = 0; i < k; ++i)
    for (size_t j = 0; j < k; ++j) {
      const double weight = std::pow(static_cast<double>(i) - static_cast<double>(j), 2);
      observed += weight * table[i][j];
      expected += weight * rows[i] * columns[j] / n;
    }
  return 1 - observed / expected;
}

TEST(OrderedScores, AreThoseOfTheTableOfCounts) {
  const std::vector<std::vector<double>> table{{5, 2, 0}, {1, 3, 4}, {2, 0, 1}};
  const std::vector<int32_t> ranks{2, 0, 1};  // class 1 is the lowest
  const std::vector<int32_t> class_of{1, 2, 0};
  std::vector<int32_t> labels, answers;
  std::vector<uint32_t> counts;
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      for (int n = 0; n < static_cast<int>(table[i][j]); ++n) {
        labels.push_back(class_of[i]);
        answers.push_back(class_of[j]);
      }
    }
  const auto scores = ordered_scores(labels, answers, ranks);
  EXPECT_NEAR(scores[0], kappa_of_table(table), 1e-14);
  EXPECT_NEAR(scores[1], (2 + 1 + 4 + 2 * 2) / 18.0, 1e-14);
  EXPECT_NEAR(scores[2], (2 / 7.0 + 5 / 8.0 + 4 / 3.0) / 3, 1e-14);
  EXPECT_NEAR(scores[3], 16 / 18.0, 1e-14);
  // the same with each pair once, counted
  std::vector<int32_t> pair_labels, pair_answers;
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      pair_labels.push_back(class_of[i]);
      pair_answers.push_back(class_of[j]);
      counts.push_back(static_cast<uint32_t>(table[i][j]));
    }
  const auto counted = ordered_scores(pair_labels, pair_answers, ranks, counts);
  for (size_t s = 0; s < scores.size(); ++s) EXPECT_NEAR(counted[s], scores[s], 1e-14);
}

TEST(OrderedScores, OfRightAnswersOfOneAnswerAndOfOneClass) {
  const std::vector<int32_t> ranks{0, 1, 2}, labels{0, 1, 2, 2}, same{1, 1, 1, 1};
  EXPECT_THAT(ordered_scores(labels, labels, ranks), ElementsAre(1, 0, 0, 1));
  EXPECT_NEAR(ordered_scores(labels, same, ranks)[0], 0, 1e-14) << "always the same answer knows nothing";
  EXPECT_TRUE(std::isnan(ordered_scores(same, same, ranks)[0]));
  EXPECT_EQ(ordered_scores(same, same, ranks)[1], 0);
}

}  // namespace
}  // namespace dinoxx::eval
