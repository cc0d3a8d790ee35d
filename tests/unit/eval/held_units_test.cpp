// What is held out of the memory to choose a setting on, and what few images are drawn from it, keeps groups (patients) and copies of a
// picture whole: a test for each place that cuts the memory. units_of() itself: eval_data_test.cpp.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <set>

#include "eval/classify/units.hpp"
#include "eval/dense/segmentation.hpp"
#include "eval/finetune/finetune_parts.hpp"
#include "eval/predict/stored_head.hpp"
#include "eval/protocols/repeated_folds.hpp"
#include "ladder_sets.hpp"
#include "support/small_vit.hpp"
#include "support/synthetic_images.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

enum class Unit { kGroup, kCopies };

class HeldUnits : public testing::TestWithParam<Unit> {
 protected:
  /// Image `id` belongs to unit `number`.
  static void join(MemoryDataset& dataset, uint64_t id, uint64_t number) {
    if (GetParam() == Unit::kGroup)
      dataset.set_group(id, number);
    else
      dataset.set_content_id(id, {number + 1, 5});
  }
  /// All images of a class are one unit, so that none of them can be held out.
  static void join_classes(MemoryDataset& dataset, const EvalData& data) {
    for (size_t row = 0; row < data.memory.size(); ++row) join(dataset, data.memory[row], static_cast<uint64_t>(data.memory_labels[row]));
  }
  ProtocolInput input(const Dataset& dataset, const EvalData& data, const SplitFeatures& features) {
    return {dataset, data, kEmbedder, features, knn_, 0, 1, *comm_};
  }

  const std::shared_ptr<Communicator> comm_ = make_self_communicator();
  KnnConfig knn_;
};
INSTANTIATE_TEST_SUITE_P(Of, HeldUnits, testing::Values(Unit::kGroup, Unit::kCopies),
                         [](const auto& unit) { return unit.param == Unit::kGroup ? "Groups" : "Copies"; });

TEST_P(HeldUnits, LogisticRegressionChoosesCOnWholeOnes) {
  Set set = make_set({12, 12}, {4, 4});
  const SplitFeatures f = features_of(set.data, 0.5);
  EXPECT_EQ(logistic_protocol(input(set.dataset, set.data, f)).scores["selection"]["images"], 24);
  join_classes(set.dataset, set.data);
  const ProtocolResult result = logistic_protocol(input(set.dataset, set.data, f));
  EXPECT_EQ(result.scores["selection"]["images"], 0);
  EXPECT_THAT(result.scores["selection"]["not_chosen"].get<std::string>(), HasSubstr("(or groups)"));
}

TEST_P(HeldUnits, LinearProbeChoosesItsHeadOnWholeOnes) {
  const auto dataset = class_dataset(12, 4, 2);
  const EvalData data = choose_eval_data(*dataset, std::nullopt, 0);
  join_classes(*dataset, data);
  const auto network = small_backbone(1, 11);
  const Embedder embedder = backbone_embedder("untrained", "", *network);
  const ExtractOptions images{{0, 16}, imagenet_normalization(), 1};
  ProtocolInput with_network{*dataset, data, embedder, {}, knn_, 0, 1, *comm_, &images};
  with_network.linear_probe_views = 0;
  const ProtocolResult result = linear_probe_protocol(with_network);
  EXPECT_EQ(result.scores["training"]["images"], 12);
  EXPECT_EQ(result.scores["selection"]["images"], 0);
  EXPECT_THAT(result.scores["selection"]["not_chosen"].get<std::string>(), HasSubstr("(or groups)"));
}

TEST_P(HeldUnits, FineTuningChoosesItsEpochOnWholeOnes) {
  Set set = make_set({30, 30}, {4, 4});
  const SplitFeatures f = features_of(set.data, 0.5);
  for (const uint64_t id : set.data.memory) join(set.dataset, id, id % 10);  // ten units, each of both classes
  const TuneData cut = plan_tuning(input(set.dataset, set.data, f));
  EXPECT_EQ(cut.validation.size(), 12u);
  EXPECT_EQ(cut.train.size(), 48u);
  std::set<uint64_t> learned;
  for (const uint64_t id : cut.train) learned.insert(id % 10);
  for (const uint64_t id : cut.validation) EXPECT_FALSE(learned.contains(id % 10)) << id;
  join_classes(set.dataset, set.data);
  EXPECT_THAT(plan_tuning(input(set.dataset, set.data, f)).why_not, HasSubstr("(or groups)"));
}

TEST_P(HeldUnits, SegmentationChoosesCOnWholeOnes) {
  Set set = make_set({10, 10}, {2, 2});
  const SplitFeatures none;
  const segmentation::Images images{set.data.memory, set.data.memory_labels};
  segmentation::Sample sample;  // four patches of each image, object and ground in turn
  sample.of_images.assign(images.ids.size(), 1);
  for (size_t i = 0; i < images.ids.size(); ++i) {
    for (int32_t patch = 0; patch < 4; ++patch) {
      sample.targets.push_back(patch % 2 == 0 ? images.labels[i] + 1 : 0);
      sample.image.push_back(static_cast<int32_t>(i));
    }
  }
  sample.features = at::one_hot(at::tensor(sample.targets, at::kLong), 3).to(at::kFloat);
  const auto scores = [&] {
    return segmentation::fit_all(input(set.dataset, set.data, none), {{"object", 2}}, sample, images, std::nullopt, 3).at(0).scores;
  };
  EXPECT_EQ(scores().size(), segmentation::kC.size());
  join_classes(set.dataset, set.data);
  EXPECT_TRUE(scores().empty()) << "nothing can be held out";
}

TEST_P(HeldUnits, EachPartOfRepeatedFoldsHasWholeOnesAndKnowsThem) {
  Set set = make_set({20, 20}, {2, 2});
  const SplitFeatures f = features_of(set.data, 0.5);
  for (const uint64_t id : set.data.memory) join(set.dataset, id, id / 2 % 8);
  int parts = 0;
  const json folds = repeated_folds(input(set.dataset, set.data, f), {"constant"}, [&](const FoldTask& task) {
    ++parts;
    EXPECT_LT(task.ids.size(), 40u);
    std::map<uint64_t, uint64_t> unit_of;  // of those learned from
    for (size_t i = 0; i < task.ids.size(); ++i) {
      const uint64_t unit = unit_of.try_emplace(task.ids[i] / 2 % 8, task.units[i]).first->second;
      EXPECT_NE(unit, 0u);
      EXPECT_EQ(unit, task.units[i]);
    }
    const std::set<uint64_t> learned(task.ids.begin(), task.ids.end());
    for (const uint64_t id : set.data.memory) EXPECT_TRUE(learned.contains(id) || !unit_of.contains(id / 2 % 8)) << id;
    return std::vector(1, std::vector<int32_t>(task.part.test_labels.size(), 0));
  });
  EXPECT_EQ(parts, 25);
  EXPECT_EQ(folds["units"], "groups");
}

// Two units with both classes: a part learns from one of them, of which nothing can be held out, and C stays 1.
TEST_P(HeldUnits, TheFoldsInsideAPartHaveWholeOnes) {
  Set set = make_set({30, 30}, {2, 2});
  const SplitFeatures f = features_of(set.data, 1.5);
  for (const uint64_t id : set.data.memory) join(set.dataset, id, id % 2);
  const ProtocolInput all = input(set.dataset, set.data, f);
  const auto at_one_c = [&](double c) {
    return repeated_folds(all, {"plain", "logit_adjusted"}, [&](const FoldTask& task) {
      LogisticRegression regression(task.part.train, task.part.train_labels, all.data.classes);
      regression.start(ClassWeight::kPlain);
      const at::Tensor logits = regression.fit(c, {.tolerance = kTolerance}).model.logits(task.part.test);
      return std::vector{predict(logits), predict(adjust_logits(logits, task.part.train_counts))};
    })["methods"];
  };
  const json found = repeated_folds_of_logistic(all)["methods"];
  EXPECT_EQ(found, at_one_c(1));
  for (const double c : {1e-6, 1e-4, 1e-2, 1e2, 1e4}) EXPECT_NE(found, at_one_c(c)) << "the set cannot tell C = 1 from " << c;
}

// A patient with ten of the twelve images of class 0, all of which look like class 1.
TEST(HeldGroups, FewShotsAreOfAsManyGroupsAsThereAre) {
  Set set = make_set({12, 12}, {6, 6});
  SplitFeatures f = features_of(set.data, 0.01);
  for (int64_t row = 0; row < 10; ++row) {
    set.dataset.set_group(set.data.memory[static_cast<size_t>(row)], 3);
    f.memory[row].copy_(f.memory[12 + row]);
  }
  const auto comm = make_self_communicator();
  const json few = climb(set.dataset, set.data, f, *comm, 1, "few").scores.at("few");
  const json &two = few["curve"].at(1), &five = few["episodes"].at(1);
  ASSERT_EQ(two["shots"], 2);
  EXPECT_EQ(two["methods"]["nearest_mean"]["balanced_accuracy"]["mean"], 1.0);
  ASSERT_EQ(five["shots"], 5);
  EXPECT_EQ(five["methods"]["nearest_mean"]["accuracy"], 1.0);
}

// Pictures of one thing are near to each other: how far a new thing may be is told by those of others.
TEST(HeldGroups, HowFarAKnownImageMayBeIsToldByOtherGroups) {
  Set set = make_set({40, 40}, {2, 2});
  at::Tensor memory = features_of(set.data, 0.5).memory;
  for (int64_t row = 1; row < 80; row += 2) memory[row].copy_(memory[row - 1]);
  StoredHead head;
  take_references(head, set.dataset, set.data.memory, memory);
  ASSERT_TRUE(head.known_to.has_value());
  EXPECT_LT(*head.known_to, 1e-6) << "its twin is in another part";
  for (const uint64_t id : set.data.memory) set.dataset.set_group(id, id / 2);
  take_references(head, set.dataset, set.data.memory, memory);
  ASSERT_TRUE(head.known_to.has_value());
  EXPECT_GT(*head.known_to, 0.1);
}

}  // namespace
}  // namespace dinoxx::eval
