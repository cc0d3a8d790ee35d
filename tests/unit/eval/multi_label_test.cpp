// Images with several labels: scores with a known answer, the protocol on drawn features, what is asked for and what is refused.
#include <gmock/gmock.h>

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "eval/decision/decision_rule.hpp"
#include "eval/multi_label/label_head.hpp"
#include "eval/multi_label/label_scores.hpp"
#include "eval/multi_label/multi_label.hpp"
#include "eval/run/asked.hpp"
#include "ladder_sets.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using namespace testing_support;

TEST(MultiLabelScores, HaveKnownAnswers) {
  // one label: yes at places 1 and 3 of four, and one image of which nothing is known
  const std::vector<double> scores{0.9, 0.8, 0.7, 0.6, 0.95};
  const std::vector<int8_t> truth{1, 0, 1, 0, -1};
  const RankedLabel ranked(scores, truth);
  EXPECT_DOUBLE_EQ(ranked.areas().average_precision, (1 + 2.0 / 3) / 2);
  EXPECT_DOUBLE_EQ(ranked.areas().auroc, 0.75);
  EXPECT_DOUBLE_EQ(ranked.areas(std::vector<uint32_t>{0, 1, 2, 1, 5}).average_precision, 2.0 / 3);
  EXPECT_TRUE(std::isnan(ranked.areas(std::vector<uint32_t>{0, 1, 0, 1, 1}).auroc)) << "no yes is left";
  const RankedLabel tied(std::vector<double>{0.5, 0.5, 0.5, 0.5}, std::vector<int8_t>{1, 0, 0, 0});
  EXPECT_DOUBLE_EQ(tied.areas().average_precision, 0.25) << "an order that says nothing has the share of yes";
  EXPECT_DOUBLE_EQ(tied.areas().auroc, 0.5);
  EXPECT_DOUBLE_EQ(threshold_of_best_f1(scores, truth).value(), 0.65) << "half way to the next, all three found with one error";
  EXPECT_FALSE(threshold_of_best_f1(scores, std::vector<int8_t>{0, 0, -1, 0, -1}));
  EXPECT_FALSE(threshold_of_best_f1(scores, std::vector<int8_t>{1, 1, -1, 1, -1}));
}

TEST(MultiLabelScores, CountImagesLabelsAndWhatIsKnown) {
  const std::vector<double> p{0.9, 0.1,  //
                              0.2, 0.8,  //
                              0.7, 0.6,  //
                              0.1, 0.2};
  const std::vector<int8_t> truth{1,  0,   //
                                  0,  1,   //
                                  0,  -1,  //
                                  -1, -1};
  const LabelAnswers answers(p, truth, std::vector<double>{0.5, 0.5}, std::vector<uint8_t>{1, 1});
  const MultiLabelScores scores = answers.scores();
  EXPECT_DOUBLE_EQ(scores.exact, 2.0 / 3) << "the third is wrong, of the last nothing is known";
  EXPECT_DOUBLE_EQ(scores.f1[0], 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.f1[1], 1);
  EXPECT_DOUBLE_EQ(scores.micro_f1, 4.0 / 5);
  EXPECT_DOUBLE_EQ(answers.tally(0).precision(), 0.5);
  EXPECT_DOUBLE_EQ(answers.tally(0).recall(), 1);
  const MultiLabelScores ordered = LabelAnswers(p, truth, {}, std::vector<uint8_t>{1, 0}).scores();
  EXPECT_TRUE(std::isnan(ordered.micro_f1)) << "without thresholds there are no answers";
  EXPECT_DOUBLE_EQ(ordered.map, ordered.average_precision[0]) << "the second label does not count";
  EXPECT_TRUE(std::isnan(ordered.average_precision[1]));
}

// Pictures with up to three labels, packed as a list has them; nothing in them is looked at.
class Labelled : public MemoryDataset {
 public:
  explicit Labelled(std::string list = "labels") {
    for (const char* name : {"label_round", "label_red", "label_rare"}) columns_.push_back({name, {"no", "yes"}, list});
  }
  void add_picture(Split split, std::array<int32_t, 3> labels) {
    add(split, labels[0]);
    labels_.push_back(labels);
  }
  const std::vector<std::string>& class_names() const override { return columns_[0].classes; }
  const std::vector<LabelColumn>& label_columns() const override { return columns_; }
  int32_t label(uint64_t id, size_t column) const override { return labels_.at(id).at(column); }

 private:
  std::vector<LabelColumn> columns_;
  std::vector<std::array<int32_t, 3>> labels_;
};

// Round and red are drawn apart, rare is on every tenth; unknown on some of training.
std::shared_ptr<Labelled> pictures(int train, int test, int val = 0) {
  auto set = std::make_shared<Labelled>();
  CounterRng rng(3, 0, 0, Purpose::kEval);
  for (const auto& [split, count] : {std::pair(Split::kTrain, train), std::pair(Split::kVal, val), std::pair(Split::kTest, test)})
    for (int i = 0; i < count; ++i)
      set->add_picture(split, {static_cast<int32_t>(rng.below(2)),
                               split == Split::kTrain && i % 11 == 5 ? -1 : static_cast<int32_t>(rng.below(2)), i % 10 == 3 ? 1 : 0});
  return set;
}

// A direction for each label, and noise.
at::Tensor seen(const Dataset& dataset, const std::vector<uint64_t>& ids, double noise) {
  const at::Tensor rows = at::zeros({static_cast<int64_t>(ids.size()), 12}, at::kFloat);
  for (size_t i = 0; i < ids.size(); ++i) {
    CounterRng rng(7, ids[i], 0, Purpose::kEval);
    float* row = rows.data_ptr<float>() + static_cast<int64_t>(i) * 12;
    for (int64_t j = 0; j < 12; ++j) row[j] = static_cast<float>(noise * rng.normal() + 0.3);
    for (int64_t l = 0; l < 3; ++l) row[2 * l] += dataset.label(ids[i], static_cast<size_t>(l) + 1) == 1 ? 1.0F : 0.0F;
  }
  return normalize_rows(rows);
}

struct Evaluated {
  Asked asked;
  EvalData data;
  LabelTable table;
  SplitFeatures features;
};

Evaluated evaluated(std::shared_ptr<const Dataset> set, double noise, const std::string& labels = "") {
  EvaluateOptions options;
  options.labels.several = labels;
  Evaluated all{what_is_asked(options, std::move(set)), {}, {}, {}};
  all.data = choose_eval_data(*all.asked.dataset, std::nullopt, 0);
  all.table = label_table(*all.asked.dataset, all.data, all.asked.labels);
  all.features = {seen(*all.asked.dataset, all.data.memory, noise), seen(*all.asked.dataset, all.data.queries, noise), {}};
  if (!all.data.validation.empty()) all.features.validation = seen(*all.asked.dataset, all.data.validation, noise);
  return all;
}

ProtocolResult run(const Evaluated& all, Communicator& comm, int threads = 1) {
  const KnnConfig knn;
  ProtocolInput input{*all.asked.dataset, all.data, kEmbedder, all.features, knn, 0, threads, comm};
  input.labels = &all.table;
  return multi_label_protocol(input);
}

TEST(MultiLabelProtocol, FindsLabelsThatFeaturesShow) {
  const auto comm = make_self_communicator();
  for (const int val : {0, 60}) {
    const Evaluated clear = evaluated(pictures(220, 120, val), 0.15), hidden = evaluated(pictures(220, 120, val), 5);
    ASSERT_EQ(clear.asked.protocols.size(), 1u);
    const json scores = run(clear, *comm).scores, lost = run(hidden, *comm).scores;
    for (const char* method : {"knn", "logistic"}) {
      EXPECT_GT(scores["scores"][method]["map"].get<double>(), 0.97) << method;
      EXPECT_LT(lost["scores"][method]["map"].get<double>(), 0.6) << method;
    }
    EXPECT_GT(scores["scores"]["logistic"]["macro_f1"].get<double>(), 0.95);
    EXPECT_NEAR(lost["scores"]["logistic"]["map"].get<double>(), lost["chance"]["map"].get<double>(), 0.12);
    EXPECT_TRUE(scores["scores"]["knn"]["macro_f1"].is_null());
    EXPECT_EQ(scores["selection"]["by"], val > 0 ? "val split" : "5 stratified folds of the memory");
    EXPECT_EQ(scores["labels"][1]["memory"]["unknown"], 20);
    EXPECT_EQ(scores["labels"][2]["queries"]["yes"], 12);
    EXPECT_THAT(scores["notes"], Contains(HasSubstr("fewer than 20 test images")));
    const json& range = scores["scores"]["logistic"]["bootstrap95"]["map"];
    EXPECT_LE(range[0], range[1]);
  }
}

TEST(MultiLabelProtocol, LooksAtNoLabelOfTheQueries) {
  const auto comm = make_self_communicator();
  Evaluated all = evaluated(pictures(150, 60), 0.8);
  const auto decided = [&] {
    const json scores = run(all, *comm).scores;
    json kept = scores["selection"];
    for (const json& label : scores["labels"]) kept["thresholds"].push_back(label["threshold"]);
    return kept.dump();
  };
  const std::string before = decided();
  for (int8_t& value : all.table.queries) value = 1 - value;
  EXPECT_EQ(decided(), before);
}

TEST(MultiLabelProtocol, IsTheSameAtAnyNumberOfRanksAndThreads) {
  const Evaluated all = evaluated(pictures(130, 70, 40), 0.6), folded = evaluated(pictures(130, 70), 0.6);
  std::string alone;
  for (const Evaluated* set : {&all, &folded})
    for (int ranks = 1; ranks <= 4; ++ranks)
      run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
        const ProtocolResult result = run(*set, *comm, ranks == 2 ? 3 : 1);
        if (ranks == 1) alone = result.scores.dump();
        EXPECT_TRUE(result.scores.dump() == alone) << ranks;
      });
}

TEST(MultiLabelProtocol, LeavesOutWhatCannotBeLearned) {
  auto set = std::make_shared<Labelled>();
  for (int i = 0; i < 40; ++i) set->add_picture(Split::kTrain, {i % 2, 1, 0});
  for (int i = 0; i < 20; ++i) set->add_picture(Split::kTest, {i % 2, i % 3 == 0, i == 4});
  const Evaluated all = evaluated(set, 0.2);
  const auto comm = make_self_communicator();
  const ProtocolResult result = run(all, *comm);
  const json& labels = result.scores["labels"];
  EXPECT_EQ(labels[1]["left_out"], "every training image of which it is known has it");
  EXPECT_EQ(labels[2]["left_out"], "no training image has it");
  EXPECT_EQ(labels[1]["logistic"]["undefined"]["average_precision"], "the label was not learned");
  EXPECT_EQ(result.scores["scores"]["logistic"]["map"], labels[0]["logistic"]["average_precision"]);
  EXPECT_THAT(multi_label_table({{"results", {[&] {
                                    json named = result.scores;
                                    named["name"] = "teacher";
                                    return named;
                                  }()}}}),
              HasSubstr("2 labels cannot be learned and are not scored: red"));
  const KnnConfig knn;
  ProtocolInput input{*all.asked.dataset, all.data, kEmbedder, all.features, knn, 0, 1, *comm};
  const LabelHead head = fit_label_head(input, all.table);
  EXPECT_EQ(head.probabilities(all.features.queries).select(1, 2).max().item<double>(), 0) << "never answered";
}

TEST(MultiLabelProtocol, WithOneTrainingImageOfALabelChoosesNothingForIt) {
  auto set = std::make_shared<Labelled>();
  for (int i = 0; i < 30; ++i) set->add_picture(Split::kTrain, {i % 2, i % 3 == 0, i == 7});
  for (int i = 0; i < 20; ++i) set->add_picture(Split::kTest, {i % 2, i % 3 == 0, i == 4});
  const auto comm = make_self_communicator();
  const ProtocolResult result = run(evaluated(set, 0.2), *comm);
  EXPECT_EQ(result.scores["labels"][2]["threshold_chosen"], false);
  EXPECT_EQ(result.scores["labels"][2]["threshold"], 0.5);
  EXPECT_EQ(result.scores["labels"][0]["threshold_chosen"], true);
  EXPECT_THAT(result.scores["notes"], Contains(HasSubstr("no images to choose a threshold on, which is one half: rare")));
}

TEST(WhatIsAsked, FollowsFromTheData) {
  const auto lists = pictures(20, 10);
  const auto names = [](const Asked& asked) {
    std::vector<std::string> words;
    for (const Protocol* protocol : asked.protocols) words.emplace_back(protocol->name);
    return words;
  };
  EvaluateOptions options;
  EXPECT_THAT(names(what_is_asked(options, lists)), ElementsAre("multi_label"));
  options.protocols = {"all"};
  EXPECT_THAT(names(what_is_asked(options, lists)), ElementsAre("multi_label", "match"));
  options.labels.column = "red";
  EXPECT_THAT(names(what_is_asked(options, lists)), testing::Not(Contains("multi_label")));
  EXPECT_EQ(what_is_asked(options, lists).dataset->label_columns()[0].name, "label_red");
  options.protocols = {};
  EXPECT_THAT(names(what_is_asked(options, lists)), ElementsAre("knn"));
  options.labels = {};
  options.labels.several = "rare,round";
  const Asked some = what_is_asked(options, lists);
  ASSERT_EQ(some.labels.size(), 2u);
  EXPECT_EQ(some.labels[0].name, "rare");
  const auto single = std::make_shared<MemoryDataset>();
  single->set_class_names({"cat", "dog"});
  options.labels = {};
  EXPECT_THAT(names(what_is_asked(options, single)), ElementsAre("knn"));
  options.protocols = {"multi_label"};
  const auto columns = std::make_shared<Labelled>("");  // of yes and no, by themselves
  EXPECT_THAT(names(what_is_asked(options, columns)), ElementsAre("multi_label"));
  options.protocols = {};
  EXPECT_THAT(names(what_is_asked(options, columns)), ElementsAre("knn"));
}

TEST(WhatIsAsked, RefusesWhatDoesNotGoTogether) {
  const auto lists = pictures(20, 10);
  const auto refused = [&](const auto& change, const std::string& why) {
    EvaluateOptions options;
    change(options);
    EXPECT_THAT([&] { what_is_asked(options, lists); }, ThrowsMessage<UsageError>(HasSubstr(why))) << why;
  };
  refused(
      [](EvaluateOptions& o) {
        o.protocols = {"knn", "logistic"};
      },
      "found knn, logistic. One label alone is scored by them: --label round");
  refused([](EvaluateOptions& o) { o.protocols = {"multi_label"}, o.labels.column = "red"; }, "Leave --label out");
  refused([](EvaluateOptions& o) { o.labels.several = "red", o.labels.column = "red"; }, "--label and --labels: expected one of them");
  refused([](EvaluateOptions& o) { o.ordered = "numbers"; }, "--ordered: expected one class an image");
  refused([](EvaluateOptions& o) { o.by = {"red"}; }, "--by: expected one class an image");
  refused([](EvaluateOptions& o) { o.labels.merge_names = true; }, "--merge-class-names: expected one class an image");
  refused([](EvaluateOptions& o) { o.labels.several = "blue"; }, "\"blue\"");
  EvaluateOptions options;
  options.protocols = {"multi_label"};
  const auto single = std::make_shared<MemoryDataset>();
  EXPECT_THAT([&] { what_is_asked(options, single); }, ThrowsMessage<UsageError>(HasSubstr("several labels an image")));
}

TEST(DecisionRule, OfSeveralLabelsSurvivesItsText) {
  const json about = {{"kind", "labels"}, {"thresholds", {0.25, 0.5}}, {"chosen_on", "val"}};
  const DecisionRule rule = rule_from_json(about, {"a", "b"});
  EXPECT_THAT(answers(rule, std::vector<double>{0.25, 0.4, 0.1, 0.5}), ElementsAre(1, 0, 0, 1));
  EXPECT_THAT([&] { rule_from_json(about, {"a"}); }, ThrowsMessage<Error>(HasSubstr("thresholds of another number of labels")));
  EXPECT_THAT(rule_lines(about), ElementsAre(HasSubstr("several labels")));
}

}  // namespace
}  // namespace dinoxx::eval
