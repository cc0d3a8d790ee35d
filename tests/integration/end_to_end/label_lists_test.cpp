// A list with several labels an image: packed, evaluated, shown, compared, deployed; what is refused.
#include <gmock/gmock.h>

#include "base/files.hpp"
#include "listed_pictures.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using namespace testing_support;

class SeveralLabels : public testing::Test {
 protected:
  // pictures of the toy set: "even" and "low" say something of the class that is seen, "third" nothing
  SeveralLabels() {
    list_pictures(shop_.data(), folder_.path(), 90, "labels,split", [](uint64_t i, int32_t label) {
      std::string labels = label % 2 == 0 ? "even" : "";
      if (label < 2) labels += ";low";
      if (i % 3 == 0) labels += ";third";
      return (labels.empty() ? "none" : labels) + (i < 60 ? ",train" : ",test");
    });
    const RunResult packed = dinoxx_run("pack --list " + file("list.csv") + " --out " + file("data"));
    EXPECT_EQ(packed.code, 0) << packed.output;
    EXPECT_THAT(packed.output, HasSubstr("3 labels, several an image"));
  }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  RunResult eval(const std::string& more, const std::string& out = "out") const {
    return dinoxx_run("eval --checkpoint " + shop_.run().string() + " --data " + file("data") + " --cache none --out " + file(out) + " " +
                      more);
  }
  const TemporaryFolder folder_;
  Workshop& shop_ = Workshop::get();
};

TEST_F(SeveralLabels, AreScoredAndShown) {
  const RunResult done = eval("--baselines raw");
  ASSERT_EQ(done.code, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("several labels an image, 3 labels, in %"));
  EXPECT_THAT(done.output, HasSubstr("teacher - raw: logistic mAP"));
  const json results = json_file(file("out/results.json"));
  EXPECT_EQ(results["data"]["labels"], json({"even", "low", "third"}));
  const json& first = results["suites"]["multi_label"]["results"][0];
  EXPECT_GT(first["scores"]["logistic"]["map"].get<double>(), first["chance"]["map"].get<double>());
  EXPECT_FALSE(results.contains("majority")) << "no class is the most frequent one";
  const std::string table = read_text(file("out/predictions_multi_label.csv"));
  EXPECT_THAT(table, HasSubstr("id,key,labels,unknown,predicted,p:even,p:low,p:third\n"));
  EXPECT_EQ(std::ranges::count(table, '\n'), 31);
  const std::string page = read_text(file("out/report.html"));
  EXPECT_THAT(page, HasSubstr("logistic regression of each label on features of the checkpoint: mAP "));
  EXPECT_THAT(page, HasSubstr("Several labels an image"));
  EXPECT_THAT(page, Not(HasSubstr("None of the methods that a verdict is based on was run")));
  EXPECT_THAT(page, HasSubstr("<summary>third: "));
  EXPECT_THAT(page, HasSubstr("not labelled so"));
  const RunResult again = dinoxx_run("report " + file("out") + " --data " + file("data"));
  EXPECT_EQ(again.code, 0) << again.output;

  const RunResult ranks = dinoxx_run(
      "eval --checkpoint " + shop_.run().string() + " --data " + file("data") + " --cache none --baselines raw --out " + file("ranks"), 2);
  ASSERT_EQ(ranks.code, 0) << ranks.output;
  EXPECT_EQ(json_file(file("ranks/results.json"))["suites"], results["suites"]);
}

TEST_F(SeveralLabels, WithoutTheirProtocolThePageIsWrittenToo) {
  const RunResult matched = eval("--protocol match --baselines none");
  ASSERT_EQ(matched.code, 0) << matched.output;
  EXPECT_THAT(matched.output, Not(HasSubstr("no report")));
  EXPECT_TRUE(fs::exists(file("out/report.html")));
}

TEST_F(SeveralLabels, OneAloneIsScoredAsAClass) {
  const RunResult one = eval("--protocol knn --label low --baselines none");
  ASSERT_EQ(one.code, 0) << one.output;
  EXPECT_EQ(json_file(file("out/results.json"))["data"]["classes"], json({"no", "yes"}));
  const RunResult refused = eval("--protocol knn,few_shot", "never");
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.output, HasSubstr("expected multi_label for images with several labels, found knn, few_shot"));
  EXPECT_FALSE(fs::exists(file("never")));
  const RunResult rule = eval("--recall low=0.9", "never");
  EXPECT_EQ(rule.code, 2);
  EXPECT_THAT(rule.output, HasSubstr("--recall and --cost: expected one class an image"));
}

TEST_F(SeveralLabels, CheckpointsAreComparedByThem) {
  const std::string checkpoints = (shop_.run() / "checkpoints").string();
  const RunResult both = dinoxx_run("eval --checkpoint " + checkpoints + "/step_00000003 --checkpoint " + checkpoints +
                                    "/step_00000006 --data " + file("data") + " --labels even,low --cache none --out " + file("both"));
  ASSERT_EQ(both.code, 0) << both.output;
  EXPECT_THAT(both.output, HasSubstr("several labels, mAP"));
  EXPECT_EQ(json_file(file("both/step_00000003/results.json"))["data"]["labels"], json({"even", "low"}));
}

TEST_F(SeveralLabels, AreDeployedAsOneFile) {
  const std::string images = " --images " + file("pictures") + " --out ";
  const RunResult first = dinoxx_run("predict --checkpoint " + shop_.run().string() + " --data " + file("data") + images + file("a.csv") +
                                     " --save " + file("c.safetensors"));
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("a logistic regression of each of 3 labels on 60 training images"));
  EXPECT_THAT(first.output, HasSubstr("mean average precision"));
  EXPECT_THAT(read_text(file("a.csv")), HasSubstr("path,predicted,error,p:even,p:low,p:third,unknown,distance,closest\n"));
  const RunResult second = dinoxx_run("predict --classifier " + file("c.safetensors") + images + file("b.csv"));
  ASSERT_EQ(second.code, 0) << second.output;
  EXPECT_EQ(read_text(file("a.csv")), read_text(file("b.csv")));
  const RunResult kept = dinoxx_run("predict --checkpoint " + shop_.run().string() + " --data " + file("data") + images + file("c.csv"));
  ASSERT_EQ(kept.code, 0) << kept.output;
  EXPECT_THAT(kept.output, HasSubstr("the head is that of an earlier call"));
  EXPECT_EQ(read_text(file("a.csv")), read_text(file("c.csv")));
  const json about = json_file(file("a.json"));
  EXPECT_EQ(about["decision"]["rule"]["kind"], "labels");
  EXPECT_EQ(about["classes"][1]["name"], "low");
  const RunResult inspected = dinoxx_run("weights inspect " + file("c.safetensors"));
  EXPECT_THAT(inspected.output, HasSubstr("an image may have several labels"));
  const RunResult refused = dinoxx_run("predict --checkpoint " + shop_.run().string() + " --data " + file("data") +
                                       " --method logit_adjusted" + images + file("d.csv"));
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.output, HasSubstr("--method: expected plain for images with several labels"));
}

}  // namespace
}  // namespace dinoxx
