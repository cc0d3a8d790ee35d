// Answers to images that were not learned from: what settings, temperature and thresholds are chosen on.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "eval/predict/validation_scores.hpp"
#include "eval/statistics/calibration.hpp"
#include "ladder_sets.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;

ProtocolResult logistic_of(const Set& set, bool keep, int threads = 1) {
  const auto comm = make_self_communicator();
  const SplitFeatures f = features_of(set.data, 0.8);
  const KnnConfig knn;
  ProtocolInput input{set.dataset, set.data, kEmbedder, f, knn, 0, threads, *comm};
  input.keep_held_out = keep;
  return logistic_protocol(input);
}

double recall_of(const HeldOutAnswers& answers, int classes) {
  std::vector<double> images(classes), right(classes);
  for (size_t i = 0; i < answers.labels.size(); ++i) {
    const double* row = answers.logits.data() + i * classes;
    ++images[answers.labels[i]];
    right[answers.labels[i]] += std::max_element(row, row + classes) - row == answers.labels[i];
  }
  double sum = 0, present = 0;
  for (int c = 0; c < classes; ++c) {
    if (images[c] == 0) continue;
    sum += right[c] / images[c];
    ++present;
  }
  return sum / present;
}

// They are of the C that was chosen: their mean recall is the one that it was chosen by, and the temperature is theirs.
TEST(HeldOutAnswers, AreThoseThatSettingsWereChosenOn) {
  int fitted = 0;
  for (const int val : {0, 6}) {
    const Set set = make_set({30, 20, 10}, {4, 4, 4}, val);
    const ProtocolResult result = logistic_of(set, true);
    ASSERT_EQ(result.held_out.size(), result.predictions.size());
    for (size_t v = 0; v < result.predictions.size(); ++v) {
      const HeldOutAnswers& held_out = result.held_out[v];
      EXPECT_EQ(held_out.ids.size(), val == 0 ? 60u : 18u);
      EXPECT_EQ(std::set<uint64_t>(held_out.ids.begin(), held_out.ids.end()).size(), held_out.ids.size());
      for (size_t i = 0; i < held_out.ids.size(); ++i) {
        EXPECT_EQ(set.dataset.meta(held_out.ids[i]).label, held_out.labels[i]);
        EXPECT_EQ(set.dataset.meta(held_out.ids[i]).split, val == 0 ? Split::kTrain : Split::kVal);
      }
      const json& details = result.predictions[v].details;
      const std::vector<double> path = details["selection"];
      EXPECT_DOUBLE_EQ(recall_of(held_out, 3), *std::max_element(path.begin(), path.end())) << result.predictions[v].method;
      const Stat temperature = fit_temperature(held_out.labels, held_out.logits, 3);
      EXPECT_EQ(details["temperature"], temperature.value ? json(*temperature.value) : json(nullptr)) << temperature.reason;
      fitted += temperature.value.has_value();
    }
  }
  EXPECT_GE(fitted, 3);
}

TEST(HeldOutAnswers, AreLeftOutWhereNobodyWantsThemOrThereAreNone) {
  const Set set = make_set({12, 12}, {2, 2});
  const ProtocolResult without = logistic_of(set, false), with = logistic_of(set, true, 2);
  EXPECT_TRUE(without.held_out.empty());
  for (size_t v = 0; v < with.predictions.size(); ++v) EXPECT_EQ(with.predictions[v].details, without.predictions[v].details);
  const ProtocolResult single = logistic_of(make_set({1, 1}, {2, 2}), true);
  ASSERT_EQ(single.held_out.size(), single.predictions.size());
  EXPECT_TRUE(single.held_out[0].ids.empty());
}

TEST(ValidationScores, OfFourImagesByHand) {
  const Set set = make_set({3, 3, 3}, {1, 1, 1});
  // classes 0 0 1 1, answers 0 1 1 1; none of class 2
  const HeldOutAnswers held_out{{0, 1, 3, 4}, {0, 0, 1, 1}, {3, 1, 0, 1, 2, 0, 0, 5, 1, -1, 0, -2}};
  const auto comm = make_self_communicator();
  const json scores = validation_scores(set.dataset, set.data, held_out, 0, 1, *comm);
  EXPECT_EQ(scores["images"], 4);
  EXPECT_EQ(scores["correct"], 3);
  EXPECT_EQ(scores["accuracy"], 0.75);
  EXPECT_EQ(scores["balanced_accuracy"], 0.75);
  EXPECT_EQ(scores["classes"][0]["recall"], 0.5);
  EXPECT_EQ(scores["classes"][1]["images"], 2);
  EXPECT_TRUE(scores["classes"][2]["recall"].is_null());
  EXPECT_TRUE(scores["classes"][2]["undefined"].contains("recall"));
  EXPECT_LE(scores["bootstrap95"]["balanced_accuracy"][0], 0.5);
  EXPECT_EQ(scores["bootstrap95"]["balanced_accuracy"][1], 1.0);
  EXPECT_FALSE(scores.contains("undefined")) << scores;

  const json none = validation_scores(set.dataset, set.data, {}, 0, 1, *comm);
  EXPECT_EQ(none["images"], 0);
  EXPECT_TRUE(none["accuracy"].is_null());
  EXPECT_EQ(validation_text(none), "validation: not known: there are no validation images");
}

}  // namespace
}  // namespace dinoxx::eval
