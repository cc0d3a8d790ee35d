// What is said of the data before any score: leaks between the splits, labels in doubt, names that are one, sets that are no test.
#include "eval/run/checks.hpp"

#include <gmock/gmock.h>

#include "eval/evidence/label_checks.hpp"
#include "ladder_sets.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

TEST(Checks, IdenticalPicturesSharedGroupsAndShiftedLabelsAreCounted) {
  Set set = make_set({6, 2}, {2, 2}, 1);
  EXPECT_TRUE(check_splits(set.dataset, set.data)["identical"].is_null());  // no hashes
  for (uint64_t id = 0; id < set.dataset.size(); ++id) set.dataset.set_content_id(id, {id + 1, 0});
  EXPECT_EQ(check_splits(set.dataset, set.data)["identical"]["images"], 0);
  EXPECT_TRUE(check_splits(set.dataset, set.data)["groups"].is_null());
  set.dataset.set_content_id(set.data.queries[3], {1, 0});  // class 1 in test, class 0 in train
  set.dataset.set_content_id(set.data.queries[0], {2, 0});
  set.dataset.set_group(set.data.memory[0], 0);
  set.dataset.set_group(set.data.queries[1], 0);
  set.dataset.set_group(set.data.queries[2], 6);
  const json checks = check_splits(set.dataset, set.data);
  EXPECT_EQ(checks["identical"]["images"], 2);
  EXPECT_EQ(checks["identical"]["with_another_label"], 1);
  ASSERT_EQ(checks["identical"]["examples"].size(), 2u);
  EXPECT_EQ(checks["identical"]["examples"].at(0)["memory"], "image1.png");
  EXPECT_EQ(checks["identical_validation"]["images"], 0);
  EXPECT_EQ(checks["groups"]["queries"], 1);
  EXPECT_EQ(checks["groups"]["groups"], 1);
  EXPECT_DOUBLE_EQ(checks["labels"]["total_variation"].get<double>(), 0.25);
  EXPECT_EQ(checks["warnings"].size(), 2u);
}

TEST(Checks, PicturesUnderTwoLabelsAndNamesThatAreOneAreTold) {
  Set set = make_set({6, 4, 2}, {2, 2, 2});
  set.dataset.set_class_names({"Cat", "dog", "cat "});
  for (uint64_t id = 0; id < set.dataset.size(); ++id) set.dataset.set_content_id(id, {id + 1, 0});
  json checks = {{"warnings", json::array()}};
  std::string csv;
  check_labels(set.dataset, set.data, checks, csv);
  EXPECT_EQ(checks["class_names"]["pairs"], json::array({json::array({"Cat", "cat "})}));
  EXPECT_EQ(checks["label_conflicts"]["pictures"], 0);
  ASSERT_EQ(checks["warnings"].size(), 1u);
  EXPECT_THAT(checks["warnings"].at(0).get<std::string>(), HasSubstr("--merge-class-names"));
  set.dataset.set_content_id(7, {1, 0});                    // of class 1, with the pixels of image 0
  set.dataset.set_content_id(set.data.queries[1], {3, 0});  // the same label twice is no conflict
  checks = {{"warnings", json::array()}};
  check_labels(set.dataset, set.data, checks, csv);
  EXPECT_EQ(checks["label_conflicts"]["pictures"], 1);
  EXPECT_EQ(checks["label_conflicts"]["images"], 2);
  EXPECT_EQ(csv,
            "image0.png,train,Cat,dog,identical pixels under another label,image7.png\n"
            "image7.png,train,dog,Cat,identical pixels under another label,image0.png\n");
}

TEST(Checks, ClassesOfOneNameAreMerged) {
  Set set = make_set({3, 4, 5}, {1, 1, 1});
  set.dataset.set_class_names({"Cat", "dog", "cat "});
  const auto merged = chosen_labels(std::make_shared<MemoryDataset>(set.dataset), {.merge_names = true});
  EXPECT_THAT(merged->class_names(), testing::ElementsAre("cat ", "dog"));  // the one of more images
  const EvalData data = choose_eval_data(*merged, std::nullopt, 0);
  EXPECT_EQ(class_counts(data.memory_labels, data.classes), (std::vector<int64_t>{8, 4}));
  set.dataset.set_class_names({"cat", "dog", "cats"});
  const auto other = std::make_shared<MemoryDataset>(set.dataset);
  EXPECT_EQ(chosen_labels(other, {.merge_names = true}), other);
}

TEST(Checks, OneTestedClassIsNoScore) {
  Set set = make_set({6, 4}, {5, 0});
  json checks = {{"warnings", json::array()}};
  std::string csv;
  check_labels(set.dataset, set.data, checks, csv);
  ASSERT_EQ(checks["warnings"].size(), 1u);
  EXPECT_THAT(checks["warnings"].at(0).get<std::string>(), HasSubstr("all 5 test images are of one class, class0"));
  const Outcome outcome = climb(set, 0.1, "knn");
  const json& scores = outcome.scores.at("knn");
  EXPECT_TRUE(scores["headline"]["accuracy"].is_null());
  EXPECT_TRUE(scores["methods"]["vote"]["accuracy"].is_null());
  EXPECT_TRUE(scores["methods"]["vote"]["balanced_accuracy"].is_null());
  EXPECT_EQ(scores["methods"]["vote"]["correct"], 5);
  EXPECT_THAT(scores["methods"]["vote"]["undefined"]["accuracy"].get<std::string>(), HasSubstr("one class"));
}

TEST(Checks, NearIdenticalFeaturesAreFoundAndTheOthersAreNot) {
  const Set set = make_set({30, 30}, {20, 20});
  SplitFeatures f = features_of(set.data, 0.5);
  f.queries[4] = f.memory[17];
  const auto comm = make_self_communicator();
  const KnnConfig knn;
  const json near = check_near_identical({set.dataset, set.data, kEmbedder, f, knn, 0, 1, *comm});
  EXPECT_EQ(near["queries"], 1);
  EXPECT_LT(near["median_cosine"], kTellsApart);
  json checks = {{"warnings", json::array()}, {"near_identical", near}};
  judge_near_identical(checks);
  ASSERT_EQ(checks["warnings"].size(), 1u);
  EXPECT_THAT(checks["warnings"].at(0).get<std::string>(), HasSubstr("1 of 40 test images are nearly the same as an image of the memory"));
  EXPECT_FALSE(checks["near_identical"].contains("notes"));
  // features for which everything is alike accuse nobody
  checks = {{"warnings", json::array()}, {"near_identical", near}};
  checks["near_identical"]["median_cosine"] = 0.95;
  judge_near_identical(checks);
  EXPECT_TRUE(checks["warnings"].empty());
  EXPECT_THAT(checks["near_identical"]["notes"].at(0).get<std::string>(),
              HasSubstr("says little, because half of all images have a neighbour with a cosine of 0.950 or more"));
  EXPECT_NEAR(near["examples"].at(0)["cosine"].get<double>(), 1.0, 1e-6);
  EXPECT_EQ(near["examples"].at(0)["image"], set.dataset.key(set.data.queries[4]));
  EXPECT_EQ(near["examples"].at(0)["memory"], set.dataset.key(set.data.memory[17]));
}

TEST(Checks, ValidationIsComparedWithBothSidesToo) {
  Set set = make_set({8, 8}, {6, 6}, 4);
  for (uint64_t id = 0; id < set.dataset.size(); ++id) set.dataset.set_content_id(id, {id + 1, 0});
  const auto same_picture = [&](uint64_t a, uint64_t b) { set.dataset.set_content_id(b, set.dataset.content_id(a)); };
  same_picture(set.data.memory[3], set.data.validation[0]);
  same_picture(set.data.validation[5], set.data.queries[1]);
  same_picture(set.data.validation[5], set.data.queries[2]);
  set.dataset.set_group(set.data.memory[0], 0);
  set.dataset.set_group(set.data.validation[7], 0);
  set.dataset.set_group(set.data.validation[6], 8);
  set.dataset.set_group(set.data.queries[9], 8);
  const json checks = check_splits(set.dataset, set.data);
  EXPECT_EQ(checks["identical"]["images"], 0);
  EXPECT_EQ(checks["identical_validation"]["images"], 1);
  EXPECT_EQ(checks["identical_validation_queries"]["images"], 2);
  EXPECT_EQ(checks["groups"]["queries"], 0);
  EXPECT_EQ(checks["groups_validation"]["queries"], 1);
  EXPECT_EQ(checks["groups_validation_queries"]["queries"], 1);
  EXPECT_EQ(checks["warnings"].size(), 4u);

  SplitFeatures f = features_of(set.data, 0.5);
  f.validation[1] = f.memory[2];
  f.queries[3] = f.validation[4];
  const auto comm = make_self_communicator();
  const KnnConfig knn;
  const json near = check_near_identical({set.dataset, set.data, kEmbedder, f, knn, 0, 1, *comm});
  EXPECT_EQ(near["queries"], 0);
  EXPECT_EQ(near["validation"]["queries"], 1);
  EXPECT_EQ(near["validation"]["examples"].at(0)["image"], set.dataset.key(set.data.validation[1]));
  EXPECT_EQ(near["validation"]["examples"].at(0)["memory"], set.dataset.key(set.data.memory[2]));
  EXPECT_EQ(near["validation_queries"]["queries"], 1);
  EXPECT_EQ(near["validation_queries"]["looked_at"], 12);
  json judged = {{"warnings", json::array()}, {"near_identical", near}};
  judged["near_identical"]["validation"]["median_cosine"] = judged["near_identical"]["validation_queries"]["median_cosine"] = 0.5;
  judge_near_identical(judged);
  EXPECT_EQ(judged["warnings"].size(), 2u);
}

}  // namespace
}  // namespace dinoxx::eval
