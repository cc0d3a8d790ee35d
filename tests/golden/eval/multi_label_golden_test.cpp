// Scores of images with several labels against scikit-learn (make_multi_label.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "eval/multi_label/label_scores.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

using golden::Fixture;

constexpr double kTolerance = 1e-12;

std::vector<double> doubles(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kDouble).contiguous();
  return {wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()};
}

// In the script's order.
std::vector<double> in_a_row(const MultiLabelScores& scores) {
  std::vector<double> row{scores.map, scores.macro_auroc, scores.macro_f1, scores.micro_f1, scores.exact};
  for (const std::vector<double>* of_labels : {&scores.average_precision, &scores.auroc, &scores.f1})
    row.insert(row.end(), of_labels->begin(), of_labels->end());
  return row;
}

void expect_row(const std::string& name, const MultiLabelScores& scores, const at::Tensor& expected) {
  const std::vector<double> row = in_a_row(scores), wanted = doubles(expected);
  ASSERT_EQ(row.size(), wanted.size()) << name;
  for (size_t i = 0; i < row.size(); ++i) EXPECT_NEAR(row[i], wanted[i], kTolerance) << name << " " << i;
}

TEST(MultiLabelGolden, ScoresAgreeWithScikitLearn) {
  const Fixture file("multi_label");
  for (const std::string name : {"plain", "ties", "unknown"}) {
    const std::vector<double> probabilities = doubles(file.tensor(name + ".probabilities")),
                              thresholds = doubles(file.tensor(name + ".thresholds"));
    std::vector<int8_t> truth;
    for (const double value : doubles(file.tensor(name + ".truth"))) truth.push_back(static_cast<int8_t>(value));
    std::vector<uint32_t> counts;
    for (const double value : doubles(file.tensor(name + ".counts"))) counts.push_back(static_cast<uint32_t>(value));
    const size_t labels = thresholds.size();
    for (size_t l = 0; l < labels; ++l) {
      std::vector<double> column;
      std::vector<int8_t> of_label;
      for (size_t at = l; at < truth.size(); at += labels) {
        column.push_back(probabilities[at]);
        of_label.push_back(truth[at]);
      }
      ASSERT_TRUE(threshold_of_best_f1(column, of_label)) << name;
      EXPECT_NEAR(*threshold_of_best_f1(column, of_label), thresholds[l], kTolerance) << name << " " << l;
    }
    const LabelAnswers answers(probabilities, truth, thresholds, std::vector<uint8_t>(labels, 1));
    expect_row(name, answers.scores(), file.tensor(name + ".scores"));
    expect_row(name + ", resampled", answers.scores(counts), file.tensor(name + ".resampled"));
  }
}

}  // namespace
}  // namespace dinoxx::eval
