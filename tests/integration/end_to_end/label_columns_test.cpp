// A list with several label columns: eval and predict by the one that is named, scores by another, and the page of both.
#include <gmock/gmock.h>

#include "base/files.hpp"
#include "listed_pictures.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace testing_support;

class LabelColumns : public testing::Test {
 protected:
  // pictures of the toy set: label says even or odd, label_site north, south or east, unrelated to what is seen
  LabelColumns() {
    list_pictures(shop_.data(), folder_.path(), 60, "label,label_site,label_device,split", [](uint64_t i, int32_t label) {
      return std::string(label % 2 == 0 ? "even" : "odd") +
             (i % 3 == 0   ? ",north"
              : i % 3 == 1 ? ",south"
                           : ",east") +
             ",camera" + (i < 30 ? ",train" : ",test");
    });
    const RunResult packed = dinoxx_run("pack --list " + file("list.csv") + " --out " + file("data"));
    EXPECT_EQ(packed.code, 0) << packed.output;
  }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  RunResult eval(const std::string& more) const {
    return dinoxx_run("eval --checkpoint " + shop_.run().string() + " --data " + file("data") + " --baselines none --cache none --out " +
                      file("out") + " " + more);
  }
  const TemporaryFolder folder_;
  Workshop& shop_ = Workshop::get();
};

TEST_F(LabelColumns, OneIsPredictedAndTheScoresStandByAnother) {
  const RunResult by = eval("--protocol knn,logistic --by site");
  ASSERT_EQ(by.code, 0) << by.output;
  EXPECT_THAT(by.output, HasSubstr("by label_site, in %: knn, balanced_vote, features of teacher"));
  const json results = json_file(file("out/results.json"));
  EXPECT_EQ(results["data"]["label_column"], "label");
  const json& sites = results["suites"]["linear"]["results"][0]["methods"]["plain"]["subgroups"][0];
  int64_t queries = 0, correct = 0;
  for (const json& site : sites["groups"]) {
    EXPECT_EQ(site["queries"], 10);
    EXPECT_EQ(site["memory"], 10);
    queries += site["queries"].get<int64_t>();
    correct += site["correct"].get<int64_t>();
  }
  EXPECT_EQ(queries, 30);
  EXPECT_EQ(correct, results["suites"]["linear"]["results"][0]["methods"]["plain"]["correct"]);
  EXPECT_TRUE(sites["worst"].is_object());
  EXPECT_THAT(read_text(file("out/predictions_linear.csv")), HasSubstr("id,key,label,label_site,teacher:plain"));
  const std::string page = read_text(file("out/report.html"));
  EXPECT_THAT(page, HasSubstr("Subgroups"));
  EXPECT_THAT(page, HasSubstr("By label_site: logistic regression"));

  const RunResult site = eval("--protocol knn --label site --by label --ordered north,south,east");
  ASSERT_EQ(site.code, 0) << site.output;
  const json of_sites = json_file(file("out/results.json"));
  EXPECT_EQ(of_sites["data"]["label_column"], "label_site");
  EXPECT_EQ(of_sites["data"]["classes"], json({"east", "north", "south"}));
  EXPECT_EQ(of_sites["suites"]["knn"]["results"][0]["methods"]["vote"]["subgroups"][0]["column"], "label");
  EXPECT_EQ(of_sites["data"]["order"], json({"north", "south", "east"}));
  const json& ordered = of_sites["suites"]["knn"]["results"][0]["methods"]["vote"]["ordered"];
  EXPECT_LE(ordered["quadratic_kappa"], 1);
  EXPECT_EQ(ordered["bootstrap95"]["mean_absolute_error"].size(), 2u);
  EXPECT_EQ(of_sites["majority"]["ordered"]["quadratic_kappa"], 0);
  EXPECT_THAT(site.output, HasSubstr("ordered classes (north < south < east): quadratic kappa"));
  EXPECT_THAT(read_text(file("out/report.html")), HasSubstr("Ordered classes"));
  const RunResult page_again = dinoxx_run("report " + file("out") + " --data " + file("data"));
  EXPECT_EQ(page_again.code, 0) << page_again.output;
  EXPECT_THAT(dinoxx_run("report " + file("out") + " --data " + shop_.data().string()).output, HasSubstr("that was evaluated"))
      << "another data set has no such column, but that is not what is wrong";
}

TEST_F(LabelColumns, PredictLearnsTheOneThatIsNamed) {
  const std::string line = "predict --checkpoint " + shop_.run().string() + " --data " + file("data") + " --images " + file("pictures") +
                           " --cache " + file("heads");
  const RunResult first = dinoxx_run(line + " --out " + file("first.csv")),
                  site = dinoxx_run(line + " --label site --save " + file("site.safetensors") + " --out " + file("site.csv")),
                  stored = dinoxx_run("predict --classifier " + file("site.safetensors") + " --images " + file("pictures") + " --out " +
                                      file("stored.csv"));
  for (const RunResult* run : {&first, &site, &stored}) ASSERT_EQ(run->code, 0) << run->output;
  EXPECT_EQ(json_file(file("first.json"))["classes"].size(), 2u);
  EXPECT_EQ(json_file(file("site.json"))["classes"][0]["name"], "east");
  EXPECT_EQ(read_text(file("site.csv")), read_text(file("stored.csv")));
}

TEST_F(LabelColumns, WhatIsNotThereIsRefusedByName) {
  expect_refusal(eval("--label sites"), 2, {"--label", "one of its label columns: label, site, device", "Did you mean site?"}, file("out"));
  expect_refusal(eval("--label site --ordered north,south"), 2, {"--ordered", "no \"east\""}, file("out"));
  expect_refusal(eval("--by plate"), 2, {"--by", "label, site, device", "\"plate\""}, file("out"));
  expect_refusal(eval("--by label"), 2, {"--by", "another column than that of the labels"}, file("out"));
  expect_refusal(eval("--by device"), 2, {"at least two values", "\"camera\" alone"}, file("out"));
  expect_refusal(
      dinoxx_run("eval --checkpoint " + shop_.run().string() + " --data " + shop_.data().string() + " --by site --out " + file("out")), 2,
      {"--by"}, file("out"));
}

}  // namespace
}  // namespace dinoxx
