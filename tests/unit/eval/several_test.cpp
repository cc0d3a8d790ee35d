#include "eval/several/compare_evaluations.hpp"

#include <gmock/gmock.h>

#include <set>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/several/evaluate_several.hpp"
#include "eval/several/request.hpp"
#include "fake_evaluation.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using dinoxx::testing_support::each;
using dinoxx::testing_support::FakeEvaluation;
using dinoxx::testing_support::TemporaryFolder;
using dinoxx::testing_support::wrong_at;
using nlohmann::json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kLabels = each({"a", "b"}, 10);

json compare(const std::vector<fs::path>& folders) {
  return compare_evaluations(folders, 1, *make_self_communicator());
}

std::string refusal(const std::vector<fs::path>& folders) {
  try {
    compare(folders);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    return error.what();
  }
  return "nothing thrown";
}

// A has all right, B seven wrong, C six others.
class ThreeCheckpoints : public testing::Test {
 protected:
  const TemporaryFolder folder_;
  FakeEvaluation a_{kLabels, kLabels}, b_{kLabels, wrong_at(kLabels, {0, 1, 2, 3, 10, 11, 12})},
      c_{kLabels, wrong_at(kLabels, {4, 5, 6, 14, 15, 16})};
  std::vector<fs::path> written() { return {a_.write(folder_ / "A"), b_.write(folder_ / "B"), c_.write(folder_ / "C")}; }
};

TEST_F(ThreeCheckpoints, TestsOfAllPairsAreMcNemarsWithHolmsCorrection) {
  const json all = compare(written());
  ASSERT_EQ(all["methods"].size(), 1u);
  const json& method = all["methods"][0];
  EXPECT_EQ(method["order"], json({0, 2, 1}));
  ASSERT_EQ(method["pairs"].size(), 3u);
  const json &ab = method["pairs"][0], &ac = method["pairs"][1], &bc = method["pairs"][2];
  EXPECT_EQ(ab["accuracy"]["only_first_right"], 7);
  EXPECT_EQ(ab["accuracy"]["only_second_right"], 0);
  EXPECT_DOUBLE_EQ(ab["accuracy"]["p"], 2 / 128.0);  // 2 / 2^7
  EXPECT_DOUBLE_EQ(ac["accuracy"]["p"], 2 / 64.0);   // 2 / 2^6
  EXPECT_DOUBLE_EQ(bc["accuracy"]["p"], 1.0);        // 6 against 7
  EXPECT_DOUBLE_EQ(ab["accuracy"]["p_holm"], 3 * 2 / 128.0);
  EXPECT_DOUBLE_EQ(ac["accuracy"]["p_holm"], 2 * 2 / 64.0);  // 0.0625: alone it would be significant, of three it is not
  EXPECT_DOUBLE_EQ(ab["balanced_accuracy"]["difference"], 0.35);
  EXPECT_LT(ab["balanced_accuracy"]["p_holm"], 0.05);
  EXPECT_LT(ac["balanced_accuracy"]["p_holm"], 0.05);
  EXPECT_EQ(ab["answer"], "first");
  EXPECT_EQ(ac["answer"], "balanced_accuracy");  // the other test does not agree
  EXPECT_EQ(bc["answer"], "none");
  EXPECT_EQ(all["test"]["images"], 20);
  EXPECT_THAT(all["notes"], Contains("A and B and C are the same weights (crc32c 0)"));
}

TEST_F(ThreeCheckpoints, TheOrderOfTheFoldersChangesSignsAlone) {
  const std::vector<fs::path> folders = written();
  const json forward = compare({folders[0], folders[1]})["methods"][0]["pairs"][0],
             backward = compare({folders[1], folders[0]})["methods"][0]["pairs"][0];
  EXPECT_EQ(forward["answer"], "first");
  EXPECT_EQ(backward["answer"], "second");
  EXPECT_EQ(forward["balanced_accuracy"]["p"], backward["balanced_accuracy"]["p"]);
  EXPECT_EQ(forward["balanced_accuracy"]["difference"].get<double>(), -backward["balanced_accuracy"]["difference"].get<double>());
  EXPECT_NEAR(forward["balanced_accuracy"]["interval95"][0].get<double>(), -backward["balanced_accuracy"]["interval95"][1].get<double>(),
              1e-12);
}

TEST_F(ThreeCheckpoints, RareClassesAreCountedAndTestedTogether) {
  const json classes = compare(written())["classes"];
  EXPECT_EQ(classes["method"], "vote");
  const json& rarest = classes["classes"][0];
  EXPECT_EQ(rarest["name"], "b");  // 10 training images, a has 40
  EXPECT_EQ(rarest["rare"], true);
  EXPECT_EQ(rarest["correct"], json({10, 7, 7}));
  EXPECT_EQ(rarest["queries"], 10);
  ASSERT_EQ(rarest["pairs"].size(), 3u);
  EXPECT_DOUBLE_EQ(rarest["pairs"][0]["p"], 0.25);       // 3 against none: 2 / 2^3
  EXPECT_DOUBLE_EQ(rarest["pairs"][0]["p_holm"], 0.75);  // of the three pairs
  EXPECT_EQ(classes["classes"][1]["rare"], false);
  EXPECT_FALSE(classes["classes"][1].contains("pairs"));
  EXPECT_EQ(classes["rare"]["names"], json({"b"}));
  EXPECT_EQ(classes["rare"]["queries"], 10);
}

TEST_F(ThreeCheckpoints, CostIsThatOfTheCheckpointAlone) {
  const json cost = compare(written())["checkpoints"][1]["cost"];
  EXPECT_EQ(cost["images_per_core_second"], 2.0);
  EXPECT_EQ(cost["embed_seconds"], (50 + 20 + 10) / 2.0 / 2.0);  // memory, queries and val by two threads
  EXPECT_EQ(cost["fit_seconds"], 12.0);
  EXPECT_EQ(cost["total_seconds"], 120);
  a_.results["run"].erase("embedders");  // of an older version
  const json older = compare(written())["checkpoints"][0]["cost"];
  EXPECT_TRUE(older["embed_seconds"].is_null());
  EXPECT_TRUE(older["fit_seconds"].is_null());
}

TEST_F(ThreeCheckpoints, WholeGroupsAreDrawnWhereTheAnswersNameThem) {
  std::vector<uint64_t> groups(20, 0);
  for (size_t q = 0; q < 20; ++q) groups[q] = 1 + q / 4;
  groups[19] = 0;
  for (FakeEvaluation* one : {&a_, &b_, &c_}) {
    one->groups = groups;
    one->results["data"]["groups"] = 5;
  }
  const json all = compare(written());
  EXPECT_EQ(all["test"]["by_group"], true);
  EXPECT_THAT(all["notes"], Contains(HasSubstr("whole groups")));
  for (FakeEvaluation* one : {&a_, &b_, &c_}) {
    one->groups.clear();
    one->results["run"].erase("embedders");
  }
  EXPECT_THAT(compare(written())["notes"], Contains(HasSubstr("a version that did not write them")));
}

TEST_F(ThreeCheckpoints, OtherDataClassesOrImagesAreRefusedByName) {
  b_.results["data"]["fingerprint"] = "beef";
  EXPECT_THAT(refusal(written()), testing::AllOf(HasSubstr("A and B"), HasSubstr("one data set"), HasSubstr("beef")));
  b_.results["data"]["fingerprint"] = "f00d";
  b_.results["data"]["classes"] = {"a", "b", "B"};
  EXPECT_THAT(refusal(written()), HasSubstr("--merge-class-names"));
  b_.results["data"]["classes"] = {"a", "b"};
  c_.results["suites"]["knn"]["protocol"]["queries"]["source"] = "val";
  EXPECT_THAT(refusal(written()), testing::AllOf(HasSubstr("A and C"), HasSubstr("test images"), HasSubstr("--split")));
  c_.results["suites"]["knn"]["protocol"]["queries"]["source"] = "test";
  c_.results["suites"]["knn"]["protocol"]["memory"]["images"] = 49;
  EXPECT_THAT(refusal(written()), HasSubstr("training images"));
  c_.results["suites"]["knn"]["protocol"]["memory"]["images"] = 50;
  a_.results["data"]["labels"] = {"x", "y"};
  EXPECT_THAT(refusal(written()), HasSubstr("2 and 0 labels"));
  a_.results["data"].erase("labels");
  a_.results["data"]["queries_crc32c"] = "00000001";
  EXPECT_NO_THROW(compare(written())) << "older evaluations do not say it";
  b_.results["data"]["queries_crc32c"] = "00000002";
  EXPECT_THAT(refusal(written()), HasSubstr("held-out part follows the seed")) << "also where no protocol has a table of answers";
  b_.results["data"].erase("queries_crc32c");
  for (size_t q = 0; q < 20; ++q) c_.ids.push_back(200 + q);
  EXPECT_THAT(refusal(written()), HasSubstr("held-out part follows the seed"));
}

TEST_F(ThreeCheckpoints, WhatIsNoEvaluationIsRefusedWithItsPath) {
  std::vector<fs::path> folders = written();
  EXPECT_THAT(refusal({folders[0]}), HasSubstr("two evaluations or more"));
  EXPECT_THAT(refusal({folders[0], folders[1], folder_ / "A" / ".." / "A"}), HasSubstr("twice"));
  EXPECT_THAT(refusal({folders[0], folder_ / "none"}), testing::AllOf(HasSubstr("none"), HasSubstr("results.json")));
  fs::rename(folder_ / "B" / "predictions_knn.csv", folder_ / "kept.csv");
  EXPECT_THAT(refusal(folders), HasSubstr("Copy the whole folder"));
  fs::copy(folder_ / "C" / "predictions_knn.csv", folder_ / "B" / "predictions_knn.csv");
  EXPECT_THAT(refusal(folders), testing::AllOf(HasSubstr("13 of 20 right"), HasSubstr("14 of 20 right"), HasSubstr("another evaluation")));
  std::ofstream(folder_ / "B" / "results.json") << "{";
  EXPECT_THAT(refusal(folders), HasSubstr("JSON"));
  std::ofstream(folder_ / "B" / "results.json") << R"({"format": "dinoxx match", "version": 1})";
  EXPECT_THAT(refusal(folders), HasSubstr("dinoxx match"));
  c_.results["version"] = 2;
  c_.write(folder_ / "C");
  EXPECT_THAT(refusal({folders[0], folders[2]}), HasSubstr("version 2"));
}

TEST_F(ThreeCheckpoints, ProtocolsThatDifferAreLeftOutWithTheReason) {
  b_.results["suites"]["knn"]["protocol"]["mean"] = 0.4;  // the network's own
  c_.results["suites"]["zero"] = {{"protocol", c_.results["suites"]["knn"]["protocol"]}, {"results", {{{"name", "teacher"}}}}};
  const json all = compare(written());
  EXPECT_EQ(all["protocols"], json({"knn"}));
  EXPECT_EQ(all["left_out"], json({{{"protocol", "zero"}, {"why", "not run for A, B"}}}));
  c_.results["suites"].erase("zero");
  c_.results["suites"]["knn"]["protocol"]["k"] = {5};
  EXPECT_THAT(refusal(written()), testing::AllOf(HasSubstr("a protocol that all evaluations have"), HasSubstr("other settings: k")));
}

TEST_F(ThreeCheckpoints, OtherSeedsAndProgramsAreSaid) {
  b_.results["seed"] = 3;
  c_.results["run"]["build"]["git"] = "def";
  c_.results["checks"]["leaks"]["queries"] = 2;
  a_.results["checks"]["leaks"]["queries"] = 2;
  const json notes = compare(written())["notes"];
  EXPECT_THAT(notes, Contains(HasSubstr("--seed differs: A 0, B 3, C 0")));
  EXPECT_THAT(notes, Contains(HasSubstr("the program differs: A abc, B abc, C def")));
  EXPECT_THAT(notes, Contains(HasSubstr("2 test images are leaks")));
}

TEST_F(ThreeCheckpoints, DrawsAreComparedOneByOne) {
  const auto curve = [](const std::vector<double>& values, double mean) {
    return json{{{"shots", 4},
                 {"methods", {{"simpleshot", {{"balanced_accuracy", {{"mean", mean}, {"interval95", {0.1, 0.9}}, {"values", values}}}}}}}}};
  };
  double shift = 0;
  for (FakeEvaluation* one : {&a_, &b_, &c_}) {
    one->results["suites"]["few"]["protocol"] = one->results["suites"]["knn"]["protocol"];
    one->results["suites"]["few"]["results"] = {{{"name", "teacher"}}};
    one->section("few")["curve"] = curve({0.5 + shift, 0.6 + 2 * shift, 0.7}, 0.6 + shift);
    shift -= 0.1;
  }
  const json figures = compare(written())["figures"];
  ASSERT_EQ(figures.size(), 1u);
  EXPECT_EQ(figures[0]["shots"], 4);
  EXPECT_EQ(figures[0]["values"][1]["value"], 0.5);
  const json& pair = figures[0]["pairs"][0];
  EXPECT_NEAR(pair["difference"].get<double>(), 0.1, 1e-12);
  // differences 0.1, 0.2, 0: mean 0.1, deviation 0.1, t = sqrt(3) with 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2) = 0.2254
  EXPECT_NEAR(pair["p"].get<double>(), 0.225403, 1e-6);
  EXPECT_NEAR(pair["p_holm"].get<double>(), 3 * 0.225403, 1e-5);
  c_.section("few")["curve"][0]["methods"]["simpleshot"]["balanced_accuracy"].erase("values");
  EXPECT_TRUE(compare(written())["figures"][0]["pairs"].is_null());
}

TEST_F(ThreeCheckpoints, AFolderOfSeveralStandsForThem) {
  written();
  std::ofstream(folder_ / "comparison.json") << R"({"format": "dinoxx comparison", "checkpoints": [{"folder": "B"}, {"folder": "C"}]})";
  EXPECT_EQ(compare({folder_.path()})["checkpoints"].size(), 2u);
  EXPECT_EQ(compare({folder_.path()})["checkpoints"][1]["name"], "C");
  EXPECT_EQ(compare({folder_ / "A", folder_.path()})["checkpoints"].size(), 3u);
  std::ofstream(folder_ / "comparison.json") << R"({"format": "other"})";
  EXPECT_THAT(refusal({folder_.path()}), HasSubstr("comparison.json"));
}

TEST(FolderNames, SayWhatTellsCheckpointsApart) {
  EXPECT_THAT(folder_names({"/w/dinov2_vits14.pth", "/w/convnext.safetensors", "/r/run"}), ElementsAre("dinov2_vits14", "convnext", "run"));
  EXPECT_THAT(folder_names({"/w/a/model.safetensors", "/w/b/model.safetensors"}), ElementsAre("a_model", "b_model"));
  EXPECT_THAT(folder_names({"/r/run/", "/r/other/"}), ElementsAre("run", "other"));
  EXPECT_THAT(folder_names({"/w/x.pth", "/w/x.bin", "/w_x"}), testing::Each(testing::Not(HasSubstr("/"))));
  const std::vector<std::string> names = folder_names({"/w/x.pth", "/w/x.bin", "/v/w_x"});
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 3u);
}

TEST(Request, NamesWhatDiffers) {
  EXPECT_EQ(different_in({{"seed", 0}, {"weights", "a"}}, {{"weights", "a"}, {"seed", 0}}), "");
  EXPECT_EQ(different_in({{"seed", 0}, {"weights", "a"}, {"crop", nullptr}}, {{"weights", "b"}, {"seed", 0}}), "crop, weights");
}

}  // namespace
}  // namespace dinoxx::eval
