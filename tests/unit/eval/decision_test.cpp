// Thresholds for a wanted recall, costs of errors: what is asked for, what is chosen, what it does.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "dinoxx/base/error.hpp"
#include "eval/decision/decision_scores.hpp"
#include "eval/decision/threshold.hpp"
#include "ladder_sets.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;
using Classes = std::vector<int32_t>;

const std::vector<std::string> kClasses{"class0", "class1", "class2"};
const std::vector<int64_t> kTrained{10, 10, 10};

// Of the order statistics of n images: 59, 93 and 124 images give a tolerance limit of 95 % with confidence 95 % when none, one or two of
// them may be missed (Wilks 1941; tables of non-parametric tolerance limits).
TEST(WantedRecall, TakesAsManyImagesAsToleranceLimitsDo) {
  EXPECT_EQ(images_to_show(0.95), 59);
  EXPECT_EQ(images_to_show(0.9), 29);
  EXPECT_EQ(images_to_show(0.99), 299);
  EXPECT_EQ(images_to_find(58, 0.95, 0.95), std::nullopt);
  EXPECT_EQ(images_to_find(59, 0.95, 0.95), 59);
  EXPECT_EQ(images_to_find(92, 0.95, 0.95), 92);
  EXPECT_EQ(images_to_find(93, 0.95, 0.95), 92);
  EXPECT_EQ(images_to_find(124, 0.95, 0.95), 122);
  // without a confidence the share itself
  EXPECT_EQ(images_to_find(20, 0.95, std::nullopt), 19);
  EXPECT_EQ(images_to_find(19, 0.95, std::nullopt), 19);
  EXPECT_EQ(images_to_find(3, 0.01, std::nullopt), 1);
  // 5 p^4 (1 - p) + p^5 = 0.05
  const double p = recall_at_least(4, 5);
  EXPECT_NEAR(5 * std::pow(p, 4) * (1 - p) + std::pow(p, 5), 0.05, 1e-12);
  EXPECT_NEAR(recall_at_least(59, 59), std::pow(0.05, 1.0 / 59), 1e-12);
  EXPECT_EQ(recall_at_least(0, 5), 0);
}

TEST(WantedRecall, HasTheHighestThresholdThatFindsEnough) {
  const std::vector<double> p{0.2, 0.9, 0.4, 0.4, 0.7};
  EXPECT_EQ(highest_threshold(p, 1), 0.9);
  EXPECT_EQ(highest_threshold(p, 3), 0.4);  // finds a fourth as well
  EXPECT_EQ(highest_threshold(p, 5), 0.2);
}

TEST(Decide, ByThresholdByCostAndByProbability) {
  const std::vector<double> p{0.5, 0.3, 0.2, 0.25, 0.25, 0.5, 0.1, 0.45, 0.45};
  EXPECT_EQ(decide({}, p, kTrained), (Classes{0, 2, 1}));
  DecisionRule threshold;
  threshold.kind = DecisionRule::Kind::kThreshold;
  threshold.positive = 0;
  threshold.threshold = 0.25;
  EXPECT_EQ(decide(threshold, p, kTrained), (Classes{0, 0, 1}));
  threshold.threshold = 0.6;  // never below it, also where it is the most probable
  EXPECT_EQ(decide(threshold, p, kTrained), (Classes{1, 2, 1}));
  DecisionRule cost;
  cost.kind = DecisionRule::Kind::kLeastCost;
  cost.costs = {0, 4, 4, 1, 0, 1, 1, 1, 0};  // a miss of class 0 costs 4
  // expected costs of the rows: (0.5, 2.2, 2.3), (0.75, 1.5, 1.25), (0.9, 0.85, 0.85): the last two alike
  EXPECT_EQ(decide(cost, p, kTrained), (Classes{0, 0, 1}));
  // what was never learned is never answered, whatever it costs
  cost.costs = {0, 1, 0, 1, 0, 0, 1, 1, 0};
  EXPECT_EQ(decide(cost, p, kTrained), (Classes{2, 2, 2}));
  EXPECT_EQ(decide(cost, p, std::vector<int64_t>{10, 10, 0}), (Classes{0, 0, 1}));
}

DecisionPlan plan(const DecisionRequest& request, std::vector<int64_t> trained = kTrained, std::vector<int64_t> tried = {10, 10, 10}) {
  return plan_decision(request, kClasses, trained, tried).value();
}

void expect_refused(const DecisionRequest& request, const std::vector<std::string>& words, std::vector<int64_t> trained = kTrained,
                    std::vector<int64_t> tried = {10, 10, 10}) {
  try {
    plan(request, trained, tried);
    ADD_FAILURE() << "accepted: " << words.front();
  } catch (const UsageError& error) {
    for (const std::string& word : words) EXPECT_THAT(error.what(), HasSubstr(word));
  }
}

TEST(DecisionRequest, OfARecall) {
  EXPECT_FALSE(plan_decision({}, kClasses, kTrained, kTrained).has_value());
  const DecisionPlan wanted = plan({{"class1=0.9"}, std::nullopt, {}});
  EXPECT_EQ(wanted.positive, 1);
  EXPECT_EQ(wanted.recall, 0.9);
  EXPECT_EQ(plan_decision({{"a=b=0.5"}, std::nullopt, {}}, {"a=b", "a"}, std::vector<int64_t>{2, 2}, std::vector<int64_t>{2, 2})->positive,
            0);
  expect_refused({{"clas1=0.9"}, std::nullopt, {}}, {"Did you mean \"class1\"?", "class0, class1, class2"});
  expect_refused({{"class1"}, std::nullopt, {}}, {"CLASS=SHARE"});
  expect_refused({{"class1=1"}, std::nullopt, {}}, {"above 0 and below 1"});
  expect_refused({{"class1=0"}, std::nullopt, {}}, {"above 0 and below 1"});
  expect_refused({{"class1=95"}, std::nullopt, {}}, {"95 % is 0.95"});
  expect_refused({{"class1=much"}, std::nullopt, {}}, {"\"much\""});
  expect_refused({{"class0=0.9", "class1=0.9"}, std::nullopt, {}}, {"one class", "--cost"});
  expect_refused({{"class0=0.9"}, std::nullopt, {"class0>*=2"}}, {"--recall or --cost", "both"});
  expect_refused({{"class2=0.9"}, std::nullopt, {}}, {"without training images"}, {10, 10, 0});
  expect_refused({{"class2=0.9"}, std::nullopt, {}}, {"to choose a threshold on", "two training images"}, kTrained, {10, 10, 0});
  expect_refused({{}, 0.95, {}}, {"--recall beside it"});
  expect_refused({{"class1=0.9"}, 1.0, {}}, {"above 0 and below 1"});
  // 10 images, all found: 0.05^(1/10) = 0.741
  expect_refused({{"class1=0.9"}, 0.95, {}}, {"at least 29 images of \"class1\"", "found 10", "0.741 or less"});
  EXPECT_EQ(plan({{"class1=0.741"}, 0.95, {}}).confidence, 0.95);
}

TEST(DecisionRequest, OfCostsInPairs) {
  EXPECT_EQ(plan({{}, std::nullopt, {"class0>class1=10"}}).costs, (std::vector<double>{0, 10, 1, 1, 0, 1, 1, 1, 0}));
  EXPECT_EQ(plan({{}, std::nullopt, {"class0>*=10", "class0>class2=3", "*>class1=0.5"}}).costs,
            (std::vector<double>{0, 0.5, 3, 1, 0, 1, 1, 0.5, 0}));
  const auto arrows = plan_decision({{}, std::nullopt, {"a>b>c=2"}}, {"a>b", "c"}, std::vector<int64_t>{2, 2}, std::vector<int64_t>{2, 2});
  EXPECT_EQ(arrows->costs, (std::vector<double>{0, 2, 1, 0}));
  expect_refused({{}, std::nullopt, {"class0>clas1=10"}}, {"Did you mean \"class1\"?"});
  expect_refused({{}, std::nullopt, {"class0=10"}}, {"two classes with >"});
  expect_refused({{}, std::nullopt, {"class0>class1"}}, {"TRUE>ANSWER=COST"});
  expect_refused({{}, std::nullopt, {"class0"}}, {"found \"class0\"", "quotes"});  // what a shell leaves of class0>class1=2
  expect_refused({{}, std::nullopt, {"class0>class1=-1"}}, {"0 or more", "\"-1\""});
  expect_refused({{}, std::nullopt, {"class0>class1=nan"}}, {"0 or more"});
  expect_refused({{}, std::nullopt, {"class0>class0=1"}}, {"two classes that differ"});
  expect_refused({{}, std::nullopt, {"*>*=0"}}, {"a cost above 0"});
}

TEST(DecisionRequest, OfCostsInATable) {
  const TemporaryFolder folder;
  const std::string file = (folder / "costs.csv").string();
  const auto write = [&](const std::string& text) { std::ofstream(file, std::ios::trunc) << text; };
  const DecisionRequest request{{}, std::nullopt, {file}};
  write("true \\ answer,class2,class0,class1\nclass1,1,2,0\nclass0,9,0.5,7\nclass2,0,3,4\n");  // any order, a right answer may cost
  EXPECT_EQ(plan(request).costs, (std::vector<double>{0.5, 7, 9, 2, 0, 1, 3, 4, 0}));
  write("x,class0,class1\nclass0,0,1\nclass1,1,0\n");
  expect_refused(request, {"none for class2", "line 1"});
  write("x,class0,class1,class2\nclass0,0,1,1\nclass1,1,0,1\n");
  expect_refused(request, {"a line for every class", "none for class2"});
  write("x,class0,class1,class2\nclass0,0,1,1\nclass1,1,0\nclass2,1,1,0\n");
  expect_refused(request, {"line 3", "4 fields", "found 3"});
  write("x,class0,class1,class2\nclass0,0,1,1\nclass1,1,0,\nclass2,1,1,0\n");
  expect_refused(request, {"line 3", "0 or more", "\"\""});
  write("x,class0,class1,class2\nclass0,0,1,1\nclass0,1,0,1\nclass2,1,1,0\n");
  expect_refused(request, {"line 3", "\"class0\" again"});
  write("x,class0,clas1,class2\n");
  expect_refused(request, {"line 1", "Did you mean \"class1\"?"});
  write("");
  expect_refused(request, {"an empty file"});
  expect_refused({{}, std::nullopt, {file, "class0>class1=2"}}, {"one FILE.csv, or pairs"});
  EXPECT_THROW(plan({{}, std::nullopt, {(folder / "none.csv").string()}}), Error);
}

// Ten images: five of class 0 with these probabilities of it, five of class 1; the rest is shared by the two others, so that the most
// probable one is class 0 above 1/3 and class 1 below.
struct ByHand {
  Set set = make_set({10, 10, 10}, {2, 2, 2});
  HeldOutAnswers held_out;
  ByHand() {
    const double p[] = {0.9, 0.8, 0.6, 0.3, 0.1, 0.7, 0.2, 0.05, 0.05, 0.02};
    for (size_t i = 0; i < 10; ++i) {
      held_out.ids.push_back(i < 5 ? i : i + 5);
      held_out.labels.push_back(i < 5 ? 0 : 1);
      for (const double each : {p[i], (1 - p[i]) / 2, (1 - p[i]) / 2}) held_out.logits.push_back(std::log(each));
    }
  }
  DecisionRule rule(const DecisionPlan& plan) { return choose_rule(plan, set.dataset, 3, held_out, Stat::of(1), "folds"); }
  json scores(const DecisionRule& rule) {
    const auto comm = make_self_communicator();
    return decision_in_validation(set.dataset, set.data, rule, held_out, Stat::of(1), 0, 1, *comm);
  }
};

TEST(ChosenRule, ForARecallByHand) {
  ByHand by_hand;
  const DecisionRule rule = by_hand.rule(plan({{"class0=0.8"}, std::nullopt, {}}));
  EXPECT_NEAR(rule.threshold, 0.3, 1e-12);
  EXPECT_EQ(rule.about["found"], 4);
  EXPECT_EQ(rule.about["images"], 5);
  EXPECT_EQ(rule.about["recall"], 0.8);
  EXPECT_EQ(rule.about["recall_at_least"], recall_at_least(4, 5));
  EXPECT_EQ(rule.about["images_to_show"], 14);  // 0.8^14 = 0.044
  EXPECT_THAT(rule.about["note"].get<std::string>(), HasSubstr("5 images cannot show a recall of 80 %: that takes 14"));

  const json scores = by_hand.scores(rule), &by_rule = scores["rule"], &argmax = scores["argmax"];
  EXPECT_EQ(scores["images"], 10);
  EXPECT_EQ(by_rule["recall"], 0.8);
  EXPECT_EQ(by_rule["precision"], 0.8);
  EXPECT_EQ(by_rule["answered"], 5);
  EXPECT_EQ(by_rule["answered_share"], 0.5);
  EXPECT_EQ(by_rule["accuracy"], 0.8);
  EXPECT_EQ(argmax["recall"], 0.6);
  EXPECT_EQ(argmax["precision"], 0.75);
  EXPECT_EQ(argmax["answered_share"], 0.4);
  EXPECT_EQ(argmax["accuracy"], 0.7);
  EXPECT_DOUBLE_EQ(argmax["balanced_accuracy"], 0.7);
  EXPECT_FALSE(by_rule.contains("mean_cost"));
  EXPECT_EQ(scores["classes"][0]["recall"], 0.8);
  EXPECT_EQ(scores["classes"][0]["argmax_recall"], 0.6);
  EXPECT_EQ(scores["classes"][1]["answered"], 5);
  EXPECT_TRUE(scores["classes"][2]["precision"].is_null());
  // Wilson for 4 of 5
  EXPECT_NEAR(by_rule["interval95"]["recall"][0], 0.3755, 1e-4);
  EXPECT_NEAR(by_rule["interval95"]["recall"][1], 0.9638, 1e-4);
  EXPECT_EQ(scores["difference95"]["recall"][0], 0.0);  // no resample loses by it
  EXPECT_GT(scores["difference95"]["recall"][1], 0.2);

  // the rule in a file is the same rule
  const DecisionRule read = rule_from_json(rule.about, kClasses);
  EXPECT_EQ(read.positive, 0);
  EXPECT_EQ(read.threshold, rule.threshold);
  EXPECT_THROW(rule_from_json(rule.about, {"others", "than these"}), Error);
  EXPECT_THROW(rule_from_json({{"kind", "majority"}}, kClasses), Error);
  EXPECT_EQ(rule_from_json({{"kind", "argmax"}}, kClasses).kind, DecisionRule::Kind::kMostProbable);
}

TEST(ChosenRule, ForCostsByHand) {
  ByHand by_hand;
  const DecisionRule rule = by_hand.rule(plan({{}, std::nullopt, {"class0>*=5"}}));
  // class 0 from p > 1/11 on: it finds all five, and takes two of class 1; else 0.3 and 0.1 are missed and 0.7 is taken
  const json scores = by_hand.scores(rule);
  EXPECT_DOUBLE_EQ(scores["rule"]["mean_cost"], 0.2);
  EXPECT_DOUBLE_EQ(scores["argmax"]["mean_cost"], 1.1);
  EXPECT_EQ(scores["rule"]["accuracy"], 0.8);
  EXPECT_LT(scores["difference95"]["mean_cost"][0], -0.9);
  EXPECT_FALSE(scores["rule"].contains("recall"));
  EXPECT_EQ(scores["classes"][0]["recall"], 1.0);
  EXPECT_EQ(rule_from_json(rule.about, kClasses).costs, rule.costs);
  EXPECT_FALSE(rule.about.contains("note"));
  const DecisionRule uncalibrated =
      choose_rule(plan({{}, std::nullopt, {"class0>*=5"}}), by_hand.set.dataset, 3, by_hand.held_out, Stat::undefined("none"), "folds");
  EXPECT_THAT(uncalibrated.about["note"].get<std::string>(), HasSubstr("not calibrated"));
}

TEST(ChosenRule, SaysThatImagesOfAGroupAreNotIndependent) {
  ByHand by_hand;
  for (const uint64_t id : {0, 1, 2}) by_hand.set.dataset.set_group(id, 7);
  const DecisionRule rule = by_hand.rule(plan({{"class0=0.8"}, std::nullopt, {}}));
  EXPECT_THAT(rule.about["note"].get<std::string>(), HasSubstr("the 5 images are of 3 groups"));
  EXPECT_EQ(by_hand.scores(rule)["intervals"], "bootstrap of whole groups");
}

ProtocolResult decided(const Set& set, const SplitFeatures& f, const DecisionPlan& plan, int threads = 1) {
  const auto comm = make_self_communicator();
  const KnnConfig knn;
  ProtocolInput input{set.dataset, set.data, kEmbedder, f, knn, 0, threads, *comm};
  input.decision = &plan;
  return logistic_protocol(input);
}

// The threshold of the protocol is that of the held-out images; test labels change the scores on test and nothing else.
TEST(ProtocolWithARule, ChoosesItWithoutTestLabels) {
  Set set = make_set({40, 30, 20}, {20, 20, 20});
  const DecisionPlan wanted = plan({{"class2=0.9"}, std::nullopt, {}});
  const SplitFeatures f = features_of(set.data, 0.8);
  const ProtocolResult before = decided(set, f, wanted), threads = decided(set, f, wanted, 3);
  std::rotate(set.data.query_labels.begin(), set.data.query_labels.begin() + 20, set.data.query_labels.end());
  const ProtocolResult after = decided(set, f, wanted);
  for (size_t v = 0; v < before.predictions.size(); ++v) {
    const json &a = before.predictions[v].details["decision"], &b = after.predictions[v].details["decision"];
    EXPECT_EQ(a["rule"], b["rule"]);
    EXPECT_EQ(a["validation"], b["validation"]);
    EXPECT_NE(a["test"], b["test"]);
    EXPECT_EQ(threads.predictions[v].details["decision"], a);
    EXPECT_GE(a["rule"]["recall"], 0.9);
    EXPECT_EQ(a["rule"]["images"], 20);
    EXPECT_EQ(a["validation"]["rule"]["recall"], a["rule"]["recall"]);
    EXPECT_EQ(a["validation"]["rule"]["found"], a["rule"]["found"]);
    EXPECT_EQ(before.predictions[v].classes, after.predictions[v].classes);
  }
}

}  // namespace
}  // namespace dinoxx::eval
