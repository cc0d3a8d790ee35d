// The steps of the ladder on small and on awkward sets, at several numbers of ranks.
#include "eval/run/protocols.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "base/rng.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/predict/stored_head.hpp"
#include "eval/run/answers.hpp"
#include "eval/run/checks.hpp"
#include "eval/run/cost_record.hpp"
#include "eval/run/method_scores.hpp"
#include "ladder_sets.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::Each;
using testing::HasSubstr;

TEST(Ladder, ClassesThatStandApartAreAllRight) {
  const Outcome outcome = climb(make_set({40, 30, 20, 10}, {9, 9, 9, 9}), 0.02);
  for (const auto& [method, classes] : outcome.predictions)
    EXPECT_EQ(classes, make_set({40, 30, 20, 10}, {9, 9, 9, 9}).data.query_labels) << method;
  EXPECT_EQ(outcome.predictions.size(), 2u + 3u + 3u);
  const json& zero = outcome.scores.at("zero");
  EXPECT_EQ(zero["clustering"]["accuracy"], 1.0);
  EXPECT_NEAR(zero["clustering"]["nmi"].get<double>(), 1.0, 1e-12);
  EXPECT_NEAR(zero["retrieval"]["map"].get<double>(), 1.0, 1e-12);
  const json& few = outcome.scores.at("few");
  ASSERT_EQ(few["curve"].size(), 6u);  // 1, 2, 4, 8, 16, 32 of 40
  EXPECT_EQ(few["curve"].at(0)["methods"]["simpleshot"]["balanced_accuracy"]["mean"], 1.0);
  EXPECT_EQ(few["curve"].at(0)["methods"]["simpleshot"]["balanced_accuracy"]["values"], json(std::vector<double>(10, 1.0)));
  EXPECT_EQ(few["curve"].at(0)["draws"], 10);
  EXPECT_EQ(few["curve"].at(5)["images"], 32 + 30 + 20 + 10);
  EXPECT_EQ(few["curve"].at(5)["classes_with_fewer"], 3);
  EXPECT_EQ(few["episodes"].at(0)["ways"], 4);
  EXPECT_EQ(few["episodes"].at(1)["methods"]["nearest_mean"]["accuracy"], 1.0);
  ASSERT_EQ(few["transductive"].size(), 4u);
  for (const json& episodes : few["transductive"]) {
    EXPECT_EQ(episodes["ways"], 4);
    EXPECT_EQ(episodes["methods"].size(), 3u);
    for (const auto& [method, scores] : episodes["methods"].items()) {
      // a class with one query has neighbours of other classes, and laplacian follows them: what unequal shares do to such methods
      if (method == "laplacian" && episodes["query_shares"] == "dirichlet")
        EXPECT_GT(scores["accuracy"], 0.99);
      else
        EXPECT_EQ(scores["accuracy"], 1.0) << method;
    }
  }
  const json& linear = outcome.scores.at("linear")["methods"]["plain"];
  EXPECT_EQ(linear["auroc"], 1.0);
  EXPECT_EQ(linear["selection"].size(), 12u);
  EXPECT_TRUE(linear["converged"]);
  // 100 images are few: repeated folds, with an interval of no width because all is right
  EXPECT_EQ(outcome.scores.at("linear")["repeated_folds"]["mean"], 1.0);
}

TEST(Ladder, ChanceOnNoise) {
  const Outcome outcome = climb(make_set({60, 60, 60, 60}, {50, 50, 50, 50}), 50.0);
  for (const auto& [step, scores] : outcome.scores) {
    if (!scores.contains("methods")) continue;
    for (const auto& [method, of_method] : scores["methods"].items()) {
      EXPECT_GT(of_method["balanced_accuracy"].get<double>(), 0.10) << step << method;
      EXPECT_LT(of_method["balanced_accuracy"].get<double>(), 0.42) << step << method;
    }
  }
  EXPECT_LT(std::abs(outcome.scores.at("zero")["clustering"]["ari"].get<double>()), 0.05);
}

TEST(Ladder, EqualAtAnyNumberOfRanksAndThreads) {
  struct Case {
    std::vector<int> train, test;
    int val;
    std::vector<int> ranks;
  };
  for (const auto& [train, test, val, ranks] :
       std::vector<Case>{{{30, 20, 9, 5}, {40, 31, 20, 9}, 0, {3}}, {{3, 2}, {1, 1}, 0, {1, 2, 4}}, {{25, 9}, {70, 3}, 4, {4}}}) {
    const Set set = make_set(train, test, val);
    const SplitFeatures f = features_of(set.data, 0.5);
    const auto self = make_self_communicator();
    const Outcome alone = climb(set.dataset, set.data, f, *self);
    for (const int size : ranks) {
      run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& comm) {
        const Outcome together = climb(set.dataset, set.data, f, *comm, 2);
        EXPECT_EQ(together.scores, alone.scores) << size << " ranks";
        EXPECT_EQ(together.predictions, alone.predictions);
      });
    }
  }
}

TEST(Ladder, NothingThatIsChosenOrPredictedLooksAtTestLabels) {
  for (const int val : {0, 5}) {
    Set set = make_set({40, 20, 12}, {20, 20, 20}, val);
    const SplitFeatures f = features_of(set.data, 0.6);
    const auto comm = make_self_communicator();
    const Outcome before = climb(set.dataset, set.data, f, *comm);
    std::reverse(set.data.query_labels.begin(), set.data.query_labels.end());
    std::rotate(set.data.query_labels.begin(), set.data.query_labels.begin() + 7, set.data.query_labels.end());
    const Outcome after = climb(set.dataset, set.data, f, *comm);
    EXPECT_EQ(after.predictions, before.predictions);
    // k-means is given no labels, and its restart is not chosen by them
    const json &a = after.scores.at("zero")["clustering"], &b = before.scores.at("zero")["clustering"];
    EXPECT_EQ(a["restart"], b["restart"]);
    EXPECT_NE(a["accuracy"], b["accuracy"]);
    for (size_t r = 0; r < a["restarts"].size(); ++r) {
      for (const char* key : {"similarity", "rounds", "converged"}) EXPECT_EQ(a["restarts"].at(r)[key], b["restarts"].at(r)[key]);
    }
    // the draws of the few-shot step: of the memory alone
    for (const char* key : {"shots", "images", "classes_with_fewer"})
      EXPECT_EQ(after.scores.at("few")["curve"].at(0)[key], before.scores.at("few")["curve"].at(0)[key]);
    EXPECT_NE(after.scores.at("few")["curve"].at(0)["methods"], before.scores.at("few")["curve"].at(0)["methods"]);
    EXPECT_EQ(after.scores.at("linear")["selection"], before.scores.at("linear")["selection"]);
    for (const char* method : {"plain", "class_weighted", "logit_adjusted"}) {
      const json &a = after.scores.at("linear")["methods"][method], &b = before.scores.at("linear")["methods"][method];
      for (const char* key : {"C", "selection", "iterations"}) EXPECT_EQ(a[key].dump(), b[key].dump()) << method << " " << key;
      EXPECT_EQ(a.value("temperature", json()).dump(), b.value("temperature", json()).dump());
      EXPECT_NE(a["accuracy"], b["accuracy"]);  // the labels did change
    }
  }
}

TEST(Ladder, SettingsAreChosenOnTheValidationSplitWhereThereIsOne) {
  const Outcome outcome = climb(make_set({30, 30}, {10, 10}, 6), 0.4, "linear");
  EXPECT_EQ(outcome.scores.at("linear")["selection"]["by"], "val split");
  EXPECT_EQ(outcome.scores.at("linear")["selection"]["images"], 12);
  EXPECT_EQ(climb(make_set({30, 30}, {10, 10}), 0.4, "linear").scores.at("linear")["selection"]["images"], 60);
}

TEST(Ladder, OneTrainingImagePerClass) {
  const Outcome outcome = climb(make_set({1, 1, 1}, {5, 5, 5}), 0.05);
  const json& linear = outcome.scores.at("linear");
  EXPECT_THAT(linear["selection"]["not_chosen"].get<std::string>(), HasSubstr("C = 1"));
  EXPECT_EQ(linear["methods"]["plain"]["C"], 1.0);
  EXPECT_TRUE(linear["methods"]["plain"]["temperature"].is_null());
  EXPECT_NE(linear["methods"]["plain"]["undefined"]["temperature"], "");
  EXPECT_TRUE(linear["repeated_folds"]["mean"].is_null());
  EXPECT_EQ(outcome.scores.at("few")["curve"].size(), 0u);  // one shot is all there is
  EXPECT_TRUE(outcome.scores.at("few")["episodes"].at(1)["methods"]["simpleshot"]["accuracy"].is_null());
  EXPECT_EQ(outcome.predictions.at("few.simpleshot"), make_set({1, 1, 1}, {5, 5, 5}).data.query_labels);
}

TEST(Ladder, AClassWithoutTrainingImagesIsNeverPredictedAndSaidToBeUndefined) {
  const Set set = make_set({20, 0, 20}, {5, 5, 5});
  const Outcome outcome = climb(set, 0.1);
  for (const auto& [method, classes] : outcome.predictions) EXPECT_THAT(classes, Each(testing::Ne(1))) << method;
  EXPECT_EQ(outcome.scores.at("linear")["repeated_folds"]["classes_left_out"], json({class_name(set.dataset, 1)}));  // its score is of two
  const json& plain = outcome.scores.at("linear")["methods"]["plain"];
  EXPECT_EQ(plain["classes"].at(1)["recall"], 0.0);
  EXPECT_TRUE(plain["classes"].at(1)["precision"].is_null());
  EXPECT_TRUE(plain["calibration"]["before"]["nll"].is_null());
  EXPECT_EQ(outcome.scores.at("zero")["retrieval"]["queries_without_match"], 5);
  EXPECT_THAT(check_splits(set.dataset, set.data)["warnings"].dump(), HasSubstr("no training image"));
}

TEST(Ladder, AClassWithoutTestImagesIsLeftOutOfMeans) {
  const Outcome outcome = climb(make_set({20, 20, 20}, {5, 0, 5}), 0.02);
  const json& plain = outcome.scores.at("linear")["methods"]["plain"];
  EXPECT_TRUE(plain["classes"].at(1)["recall"].is_null());
  EXPECT_TRUE(plain["classes"].at(1)["auroc"].is_null());
  EXPECT_EQ(plain["balanced_accuracy"], 1.0);
  EXPECT_EQ(plain["ranking_classes_left_out"], 1);
  EXPECT_TRUE(outcome.scores.at("zero")["retrieval"]["classes"].at(1)["map"].is_null());
}

TEST(Ladder, MoreClustersThanImagesIsSaid) {
  // three classes, two images in the memory
  const Outcome outcome = climb(make_set({1, 1, 0}, {1, 1, 1}), 0.02, "zero");
  EXPECT_TRUE(outcome.scores.at("zero")["clustering"]["accuracy"].is_null());
  EXPECT_THAT(outcome.scores.at("zero")["clustering"]["undefined"]["accuracy"].get<std::string>(), HasSubstr("the memory holds 2 images"));
}

TEST(Ladder, AFitThatWouldTakeTooLongIsLeftOutWithTheReason) {
  Set set = make_set({2, 2}, {1, 1});
  set.data.classes = 10'000'000;
  const SplitFeatures f = features_of(set.data, 0.1);
  const auto comm = make_self_communicator();
  const KnnConfig knn;
  const ProtocolResult result = logistic_protocol({set.dataset, set.data, kEmbedder, f, knn, 0, 1, *comm});
  EXPECT_TRUE(result.predictions.empty());
  EXPECT_THAT(result.scores["left_out"].get<std::string>(), HasSubstr("numbers"));
}

// Labels by lot, every picture twice: whoever has one copy among the images learned from knows the label of the other.
TEST(Ladder, CopiesOfAPictureAreInOneFold) {
  Set set = make_set({40, 40}, {2, 2});
  const auto copies = [&](bool known) {
    for (size_t i = 0; i < 80; ++i) set.dataset.set_content_id(set.data.memory[i], {known ? 1 + i % 40 / 2 + 100 * (i / 40) : 1 + i, 0});
    SplitFeatures f = features_of(set.data, 1);
    for (int64_t i = 0; i < 80; ++i) {
      CounterRng rng(3, static_cast<uint64_t>(i / 2), 0, Purpose::kEval);
      for (int64_t j = 0; j < 12; ++j) f.memory[i][j] = rng.normal();
    }
    f.memory = normalize_rows(f.memory);
    const auto comm = make_self_communicator();
    const json folds = climb(set.dataset, set.data, f, *comm, 1, "knn").scores["knn"]["repeated_folds"];
    return folds["methods"]["vote"]["balanced_accuracy"]["mean"].get<double>();
  };
  EXPECT_GT(copies(false), 0.75);
  EXPECT_LT(copies(true), 0.68);
}

// Fewer than thirty test images a class: cross-validation of the memory, whole groups, for k-NN and for logistic regression.
TEST(Ladder, FewTestImagesBringCrossValidation) {
  Set small = make_set({300, 300}, {8, 8});
  for (size_t i = 0; i < 600; ++i) small.dataset.set_group(small.data.memory[i], 1 + i / 20);
  const auto comm = make_self_communicator();
  const SplitFeatures f = features_of(small.data, 0.4);
  for (const auto& [key, method] : {std::pair{"knn", "vote"}, std::pair{"linear", "logit_adjusted"}}) {
    const json scores = climb(small.dataset, small.data, f, *comm, 1, key).scores.at(key);
    ASSERT_TRUE(scores.contains("repeated_folds")) << key;
    const json& folds = scores["repeated_folds"];
    EXPECT_EQ(folds["units"], "groups");
    const json& own = folds["methods"][method];
    EXPECT_GT(own["balanced_accuracy"]["mean"].get<double>(), 0.7);
    EXPECT_LT(own["balanced_accuracy"]["interval95"][0].get<double>(), own["balanced_accuracy"]["mean"].get<double>());
    EXPECT_NEAR(folds["majority"]["balanced_accuracy"]["mean"].get<double>(), 0.5, 1e-12);
    EXPECT_EQ(own["balanced_accuracy"]["values"].size(), 25u);  // fold by fold, to be paired with those of other features
  }
  EXPECT_TRUE(check_splits(small.dataset, small.data)["test_size"]["few"].get<bool>());
  const Set large = make_set({300, 300}, {30, 30});
  EXPECT_FALSE(check_splits(large.dataset, large.data)["test_size"]["few"].get<bool>());
  EXPECT_FALSE(climb(large, 0.4, "knn").scores.at("knn").contains("repeated_folds"));
  // training is spared it
  const KnnConfig knn;
  ProtocolInput input{small.dataset, small.data, kEmbedder, f, knn, 0, 1, *comm};
  input.in_training = true;
  EXPECT_FALSE(protocols().front().run(input).scores.contains("repeated_folds"));
}

// A fold of a few images may lack a class: the folds of a repetition are one test set, and none is scored by itself.
TEST(Ladder, FoldsThatLackAClassAreNoScoresOfTheOthers) {
  for (const auto& [train, classes_tested] :
       {std::pair(std::vector{3, 3}, 2), std::pair(std::vector{4, 4}, 2), std::pair(std::vector{21, 2}, 2)}) {
    const json folds = climb(make_set(train, {2, 2}), 30.0, "knn").scores.at("knn")["repeated_folds"];
    const double images = train[0] + train[1];
    EXPECT_NEAR(folds["majority"]["balanced_accuracy"]["mean"].get<double>(), 1.0 / classes_tested, 1e-12) << folds;
    EXPECT_NEAR(folds["majority"]["accuracy"]["mean"].get<double>(), train[0] / images, 1e-12);
    const json& own = folds["methods"]["vote"]["balanced_accuracy"];
    EXPECT_LT(own["mean"].get<double>(), 0.9) << "noise";
    if (own["interval95"].is_null()) continue;
    EXPECT_GE(own["interval95"][0].get<double>(), 0.0);
    EXPECT_LE(own["interval95"][1].get<double>(), 1.0);
  }
  // one group each of two classes: only the third can be held out
  Set grouped = make_set({12, 5, 5}, {2, 2, 2});
  for (size_t i = 12; i < 22; ++i) grouped.dataset.set_group(grouped.data.memory[i], i < 17 ? 1 : 2);
  const auto comm = make_self_communicator();
  const json folds =
      climb(grouped.dataset, grouped.data, features_of(grouped.data, 0.02), *comm, 1, "knn").scores.at("knn")["repeated_folds"];
  for (const char* score : {"balanced_accuracy", "accuracy"}) {
    EXPECT_TRUE(folds["methods"]["vote"][score]["mean"].is_null()) << folds;
    EXPECT_THAT(folds["methods"]["vote"][score]["undefined"]["mean"].get<std::string>(), HasSubstr("only one class"));
  }
}

// Images of the kind that was learned from are known, others are not, however sure the classifier is.
TEST(StoredHead, WhatIsUnlikeAllTrainingImagesIsUnknown) {
  const Set set = make_set({150, 150}, {20, 20});
  const SplitFeatures f = features_of(set.data, 0.15);
  StoredHead head;
  take_references(head, set.dataset, set.data.memory, f.memory);
  ASSERT_TRUE(head.known_to.has_value());
  const auto unknown = [&](const at::Tensor& features) {
    const std::vector<double> distances = distance_to_training(head, normalize_rows(features));
    return std::count_if(distances.begin(), distances.end(), [&](double distance) { return distance > *head.known_to; });
  };
  EXPECT_LE(unknown(f.queries), 5);
  EXPECT_EQ(unknown(f.memory), 0);
  at::Tensor others = at::zeros({10, 12});  // another class of the same world: as far from both
  for (int64_t i = 0; i < 10; ++i) others[i][5 + i % 5] = 1.0;
  EXPECT_EQ(unknown(others + 0.3), 10);
  take_references(head, set.dataset, {0, 1, 2}, f.memory.narrow(0, 0, 3));
  EXPECT_FALSE(head.known_to.has_value());  // too few to tell by
}

TEST(StoredHead, IsReadForTheSameKeyAlone) {
  const TemporaryFolder folder;
  const Set set = make_set({30, 30}, {2, 2});
  StoredHead head{{at::rand({2, 12}, at::kDouble), at::rand({2}, at::kDouble)}, {{"C", 0.5}}, {}, {}, {}, std::nullopt};
  take_references(head, set.dataset, set.data.memory, features_of(set.data, 0.5).memory);
  const json key = {{"format", "x"}, {"mean", {0.485f, 0.1}}};
  const auto file = head_file(folder.path() / "heads", key);
  const auto comm = make_self_communicator();
  EXPECT_FALSE(read_head(file, key, *comm).has_value());
  write_head(file, key, head);
  const auto found = read_head(file, key, *comm);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(at::equal(found->model.weight, head.model.weight) && at::equal(found->reference, head.reference));
  EXPECT_EQ(found->about, head.about);
  EXPECT_EQ(found->known_to, head.known_to);
  EXPECT_FALSE(read_head(file, {{"format", "y"}}, *comm).has_value());
  std::filesystem::resize_file(file, 200);
  EXPECT_FALSE(read_head(file, key, *comm).has_value());
}

TEST(Predictions, NameTheGroupsOfTheTestImagesWhereThereAreAny) {
  Set set = make_set({5, 5}, {2, 1});
  const auto answers = [&] {
    ProtocolAnswers answers{&protocols().front(), {}, {{{"vote", {0, 1, 1}, {}, {}}}}};
    return predictions_csv(set.dataset, set.data, {}, {&kEmbedder, 1}, answers);
  };
  EXPECT_THAT(answers(), testing::StartsWith("id,key,label,teacher:vote\n10,image10.png,class0,class0\n"));
  set.dataset.set_group(set.data.memory[0], 7);  // of a training image alone
  EXPECT_THAT(answers(), testing::StartsWith("id,key,label,teacher:vote\n"));
  set.dataset.set_group(set.data.queries[0], 0);
  EXPECT_EQ(
      answers(),
      "id,key,label,group,teacher:vote\n10,image10.png,class0,0,class0\n11,image11.png,class0,,class1\n12,image12.png,class1,,class1\n");
}

TEST(CostRecord, CountsTheForwardPassesAndThePartsOfEachEmbedder) {
  std::vector<Embedder> embedders{{"teacher", "", 2, [](const at::Tensor& images) { return images.flatten(1); }}, {"raw", "", 2, {}}};
  CostRecord cost(embedders);
  embedders[0].embed(at::zeros({64, 1, 2}));
  embedders[0].embed(at::zeros({3, 1, 2}));
  cost.add("extract");
  cost.add("knn", "teacher");
  cost.add("knn", "raw");
  cost.move("extract", "cache", 0.5);
  const json found = cost.of_embedders(*make_self_communicator());
  EXPECT_EQ(found["teacher"]["images"], 67);
  EXPECT_GT(found["teacher"]["core_seconds"].get<double>(), 0);
  EXPECT_EQ(found["raw"]["images"], 0);
  EXPECT_TRUE(found["teacher"]["seconds"].contains("knn"));
  EXPECT_NEAR(cost.parts().at("knn"), found["teacher"]["seconds"]["knn"].get<double>() + found["raw"]["seconds"]["knn"].get<double>(),
              1e-9);
  EXPECT_EQ(cost.parts().at("cache"), 0.5);
}

TEST(MethodScores, BootstrapComparesMethodsOnTheSameResamples) {
  const Set set = make_set({5, 5}, {30, 30});
  std::vector<int32_t> good = set.data.query_labels, bad = good;
  for (int i = 0; i < 10; ++i) bad[i * 6] = 1 - bad[i * 6];
  const auto comm = make_self_communicator();
  const std::vector<const std::vector<int32_t>*> methods{&good, &bad, &bad};
  const std::vector<MethodPair> pairs{{0, 1}, {1, 2}};
  const BootstrapReport report = bootstrap_methods(set.dataset, set.data, methods, pairs, 0, 1, *comm);
  ASSERT_EQ(report.intervals.size(), methods.size());
  ASSERT_EQ(report.differences.size(), pairs.size());
  EXPECT_TRUE(report.intervals[0]["accuracy"].is_null());  // all right in every resample: nothing is known of the spread
  EXPECT_THAT(report.intervals[0]["undefined"]["accuracy"].get<std::string>(), HasSubstr("the same value"));
  EXPECT_THAT(report.interval_notes.at(0), HasSubstr("2 of 2 classes"));
  EXPECT_LT(report.intervals[1]["accuracy"].at(0).get<double>(), 50.0 / 60);
  EXPECT_GT(report.differences[0]["accuracy"].at(0).get<double>(), 0.05);
  EXPECT_TRUE(report.differences[1]["balanced_accuracy"].is_null());  // the same method: the same resamples
  EXPECT_THAT(report.difference_notes.at(1), HasSubstr("2 of 2 classes"));
  EXPECT_FALSE(report.by_group);

  Set grouped = make_set({5, 5}, {30, 30});
  for (size_t q = 0; q < 60; ++q) grouped.dataset.set_group(grouped.data.queries[q], q < 30 ? std::optional<uint64_t>(0) : std::nullopt);
  EXPECT_TRUE(bootstrap_methods(grouped.dataset, grouped.data, methods, pairs, 0, 1, *comm).by_group);
}

}  // namespace
}  // namespace dinoxx::eval
