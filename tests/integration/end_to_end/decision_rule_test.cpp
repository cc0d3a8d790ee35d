// Which threshold, and what errors cost: dinoxx eval says what a rule does on test, dinoxx predict answers by it, the saved file keeps it.
#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <sstream>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "image_files.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using namespace testing_support;

class RuleOfDecision : public testing::Test {
 protected:
  void SetUp() override {
    const auto data = Dataset::open(shop_.data());
    classes_ = data->class_names();
    if (fs::exists(file("tests"))) return;
    std::vector<uint8_t> bytes;
    for (const uint64_t id : data->ids(Split::kTest)) {
      data->read(id, bytes);
      write_bytes(file("tests/" + std::to_string(id) + ".png"), bytes);
    }
  }
  std::string file(const std::string& name) { return (shop_.folder / ("rule_" + name)).string(); }
  std::string model() { return " --checkpoint " + shop_.run().string() + " --data " + shop_.data().string() + " "; }
  /// How many images each class is the answer to, unknown ones too.
  std::map<std::string, int64_t> answers(const std::string& csv) {
    std::istringstream text(read_text(csv));
    std::map<std::string, int64_t> counts;
    std::string line;
    std::getline(text, line);
    EXPECT_TRUE(line.ends_with(",closest"));
    while (std::getline(text, line)) ++counts[line.substr(line.rfind(',') + 1)];
    return counts;
  }
  /// Predict with `rule`, and the table of the saved file; they must be the same.
  json predicted(const std::string& name, const std::string& rule) {
    const std::string images = " --images " + file("tests");
    const RunResult direct =
        dinoxx_run("predict" + model() + rule + images + " --out " + file(name + ".csv") + " --save " + file(name + ".safetensors"));
    EXPECT_EQ(direct.code, 0) << direct.output;
    EXPECT_THAT(direct.output, HasSubstr("decision: "));
    EXPECT_THAT(direct.output, HasSubstr("validation, "));
    const RunResult saved =
        dinoxx_run("predict --classifier " + file(name + ".safetensors") + images + " --out " + file(name + "_saved.csv"));
    EXPECT_EQ(saved.code, 0) << saved.output;
    EXPECT_THAT(saved.output, HasSubstr("decision: "));
    EXPECT_EQ(read_text(file(name + ".csv")), read_text(file(name + "_saved.csv")));
    const json summary = json_file(file(name + ".json"));
    EXPECT_EQ(json_file(file(name + "_saved.json"))["decision"], summary["decision"]);
    EXPECT_THAT(dinoxx_run("weights inspect " + file(name + ".safetensors")).output, HasSubstr("classifier decision: "));
    return summary;
  }
  Workshop& shop_ = Workshop::get();
  std::vector<std::string> classes_;
};

TEST_F(RuleOfDecision, OfARecallIsTheSameInEvalPredictAndTheSavedFile) {
  const std::string rule = "--recall " + classes_[1] + "=0.9";
  const RunResult eval = dinoxx_run("eval" + model() + "--protocol logistic --baselines raw " + rule + " --out " + file("eval"));
  ASSERT_EQ(eval.code, 0) << eval.output;
  EXPECT_THAT(eval.output, HasSubstr("decision: " + classes_[1] + " from probability "));
  EXPECT_THAT(eval.output, HasSubstr("rule of decision and most probable class on the test images: " + classes_[1]));
  const json results = json_file(file("eval/results.json"));
  const json& methods = results["suites"]["linear"]["results"][0]["methods"];
  for (const std::string method : {"plain", "class_weighted", "logit_adjusted"}) {
    const json& decision = methods[method]["decision"];
    EXPECT_EQ(decision["rule"]["kind"], "recall");
    EXPECT_GE(decision["rule"]["recall"], 0.9);
    EXPECT_EQ(decision["test"]["argmax"]["accuracy"], methods[method]["accuracy"]);
    EXPECT_EQ(decision["test"]["classes"][1]["argmax_recall"], methods[method]["classes"][1]["recall"]);
  }
  EXPECT_TRUE(results["suites"]["linear"]["results"][1]["methods"]["plain"].contains("decision"))
      << "of raw pixels, by a threshold of their own";
  const std::string page = read_text(file("eval/report.html"));
  EXPECT_THAT(page, HasSubstr("Decision rule"));
  EXPECT_THAT(page, HasSubstr("recall of " + classes_[1]));

  for (const std::string method : {"plain", "logit_adjusted"}) {
    const json summary = predicted(method, "--method " + method + " " + rule);
    const json& decision = methods[method]["decision"];
    EXPECT_EQ(summary["decision"]["rule"], decision["rule"]);
    EXPECT_EQ(summary["decision"]["validation"], decision["validation"]);
    // the test images, one by one, as eval has counted them
    auto counts = answers(file(method + ".csv"));
    for (const json& row : decision["test"]["classes"]) EXPECT_EQ(counts[row["name"]], row["answered"]) << method << " " << row["name"];
  }
  // by the head that was kept any rule can be chosen, and the probabilities are the same
  const RunResult again = dinoxx_run("predict" + model() + "--images " + file("tests") + " --out " + file("argmax.csv"));
  ASSERT_EQ(again.code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("the head is that of an earlier call"));
  EXPECT_THAT(again.output, Not(HasSubstr("decision: ")));
  EXPECT_EQ(json_file(file("argmax.json"))["decision"]["rule"]["kind"], "argmax");
  EXPECT_EQ(json_file(file("argmax.json"))["head"], json_file(file("plain.json"))["head"]);
}

TEST_F(RuleOfDecision, OfCostsIsTheSameByPairsAndByATable) {
  const std::string table = file("costs.csv");
  {
    std::ofstream out(table);
    out << "true";
    for (const std::string& name : classes_) out << "," << name;
    for (const std::string& truth : classes_) {
      out << "\n" << truth;
      for (const std::string& answer : classes_) out << "," << (truth == answer ? 0 : truth == classes_[2] ? 8 : 1);
    }
    out << "\n";
  }
  const json pairs = predicted("pairs", "--cost '" + classes_[2] + ">*=8'"), by_table = predicted("table", "--cost " + table);
  EXPECT_EQ(read_text(file("pairs.csv")), read_text(file("table.csv")));
  EXPECT_EQ(pairs["decision"], by_table["decision"]);
  EXPECT_EQ(pairs["decision"]["rule"]["kind"], "cost");
  // the rule has the least expected cost, so that its mean cost in validation is no higher but by chance
  const json& validation = pairs["decision"]["validation"];
  EXPECT_LT(validation["rule"]["mean_cost"], validation["argmax"]["mean_cost"]);
  const RunResult eval =
      dinoxx_run("eval" + model() + "--protocol logistic --baselines none --cost " + table + " --out " + file("eval_cost"));
  ASSERT_EQ(eval.code, 0) << eval.output;
  EXPECT_THAT(eval.output, HasSubstr("mean cost"));
  EXPECT_EQ(json_file(file("eval_cost/results.json"))["suites"]["linear"]["results"][0]["methods"]["plain"]["decision"]["rule"],
            pairs["decision"]["rule"]);
}

TEST_F(RuleOfDecision, IsRefusedBeforeAnyWork) {
  const std::string out = file("no.csv"), predict = "predict" + model() + "--images " + file("tests") + " --out " + out + " ",
                    eval = "eval" + model() + "--out " + file("no") + " ";
  expect_refusal(dinoxx_run(predict + "--recall " + classes_[0] + "s=0.9"), 2, {"--recall", "Did you mean \"" + classes_[0] + "\""}, out);
  expect_refusal(dinoxx_run(predict + "--recall " + classes_[0] + "=1.5"), 2, {"above 0 and below 1"}, out);
  expect_refusal(dinoxx_run(predict + "--cost '" + classes_[0] + ">*=-3'"), 2, {"0 or more"}, out);
  expect_refusal(dinoxx_run(predict + "--cost '" + classes_[0] + ">*=3' --recall " + classes_[0] + "=0.9", 2), 2, {"both"}, out);
  expect_refusal(dinoxx_run(predict + "--recall-confidence 0.95"), 2, {"--recall beside it"}, out);
  expect_refusal(dinoxx_run(predict + "--recall " + classes_[0] + "=0.999 --recall-confidence 0.95"), 2, {"at least 2995 images"}, out);
  expect_refusal(dinoxx_run(predict + "--method finetuned --recall " + classes_[0] + "=0.9"), 2, {"--recall", "--method finetuned"}, out);
  expect_refusal(dinoxx_run(eval + "--protocol knn --recall " + classes_[0] + "=0.9"), 2, {"--protocol logistic"}, file("no"));
  expect_refusal(dinoxx_run(eval + "--protocol logistic --recall nothing=0.9"), 2, {"--recall", "\"nothing\""}, file("no"));
}

}  // namespace
}  // namespace dinoxx
