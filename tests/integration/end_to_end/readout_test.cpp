// What is taken as an image's feature, as a user chooses it: several stages, cells of their maps, whitening; in eval, predict and embed.
#include <gmock/gmock.h>

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

constexpr const char* kStages = " --feature-stages 2 --feature-grid 2 ";
constexpr const char* kAll = " --feature-stages 2 --feature-grid 2 --feature-whiten 0.3 ";

class ChosenFeatures : public testing::Test {
 protected:
  std::string file(const std::string& name) { return (shop_.folder / ("readout_" + name)).string(); }
  std::string model() { return " --checkpoint " + shop_.run().string() + " --data " + shop_.data().string() + " "; }
  Workshop& shop_ = Workshop::get();
};

TEST_F(ChosenFeatures, EvalIsTheSameAtAnyNumberOfRanksAndChecksTheFeaturesBeforeWhitening) {
  const auto eval = [&](const std::string& name, const std::string& more, int ranks) {
    const RunResult run =
        dinoxx_run("eval" + model() + "--protocol knn,clustering,few_shot,logistic --cache none --out " + file(name) + more, ranks);
    EXPECT_EQ(run.code, 0) << run.output;
    return results_without_run(file(name));
  };
  const json one = eval("one", kAll, 0), two = eval("two", kAll, 2), stages = eval("stages", kStages, 0), plain = eval("plain", "", 0);
  EXPECT_EQ(one.dump(), two.dump());
  EXPECT_EQ(one["features"], "last 2 stages, averaged over 2 x 2 cells, whitened (shrinkage 0.3)");
  EXPECT_EQ(plain["features"], "CLS feature");
  const json &found = one["suites"]["knn"]["results"], &before = plain["suites"]["knn"]["results"];
  EXPECT_EQ(found[0]["feature_dim"], 2 * 5 * before[0]["feature_dim"].get<int>());  // of each of two blocks CLS and four cells
  EXPECT_EQ(found[1]["feature_dim"], found[0]["feature_dim"]) << "the untrained network is read alike";
  EXPECT_EQ(found[2]["feature_dim"], before[2]["feature_dim"]) << "pixels have no stages";
  EXPECT_NE(found[2]["methods"], before[2]["methods"]) << "and are whitened";
  EXPECT_THAT(found[2]["description"], HasSubstr(", whitened"));
  // what tells of copies and of a collapse is about features as they are
  EXPECT_EQ(one["checks"]["near_identical"], stages["checks"]["near_identical"]);
  EXPECT_EQ(one["feature_health"], stages["feature_health"]);
  EXPECT_NE(one["suites"]["knn"]["results"][0]["methods"], stages["suites"]["knn"]["results"][0]["methods"]);
}

TEST_F(ChosenFeatures, KeptFeaturesAreNotThoseOfAnotherReading) {
  const std::string cache = " --cache " + file("cache");
  const auto read = [&](const std::string& name, const std::string& more) {
    const RunResult run = dinoxx_run("eval" + model() + "--protocol knn --baselines none --out " + file(name) + cache + more);
    EXPECT_EQ(run.code, 0) << run.output;
    return json_file(fs::path(file(name)) / "results.json")["run"]["cache"]["read"].size();
  };
  EXPECT_EQ(read("cache_plain", ""), 0u);
  EXPECT_EQ(read("cache_stages", kStages), 2u);  // of the hashes
  EXPECT_EQ(read("cache_white", kAll), 4u) << "whitening is learned from the same features";
  EXPECT_EQ(read("cache_again", ""), 4u);
}

TEST_F(ChosenFeatures, ProtocolsThatReadTheNetworkThemselvesAreRefusedByName) {
  for (const std::string protocol : {"linear_probe", "finetune"})
    expect_refusal(dinoxx_run("eval" + model() + "--protocol knn," + protocol + " --out " + file("no") + kStages), 2,
                   {"--protocol", protocol, "learns from the network itself"}, file("no"));
  for (const std::string wrong :
       {"--feature-stages 9", "--feature-grid 2", "--feature-stages 1 --feature-grid 15", "--feature-whiten 1.2", "--feature-stages -1"})
    expect_refusal(dinoxx_run("eval" + model() + "--out " + file("no") + " " + wrong), 2, {"--feature-", "expected"}, file("no"));
  expect_refusal(dinoxx_run("embed" + model() + "--out " + file("no.npy") + " --last-blocks 1" + kStages), 2, {"one of them"},
                 file("no.npy"));
  expect_refusal(dinoxx_run("predict" + model() + "--save " + file("no.safetensors") + " --method finetuned" + kStages), 2,
                 {"--feature-stages", "a head that is fitted"}, file("no.safetensors"));
}

TEST_F(ChosenFeatures, EmbedWritesThem) {
  const RunResult run = dinoxx_run("embed" + model() + "--out " + file("stages.npy") + kStages),
                  plain = dinoxx_run("embed" + model() + "--out " + file("plain.npy"));
  ASSERT_EQ(run.code, 0) << run.output;
  const auto header = [&](const std::string& name) { return fs::file_size(file(name + ".npy")); };
  EXPECT_GT(header("stages"), 9 * header("plain"));
  EXPECT_LT(header("stages"), 10 * header("plain") + 1);
  EXPECT_THAT(plain.output, Not(HasSubstr("stages")));
}

// The head of predict is that of eval, also from its cache and from the one file.
TEST_F(ChosenFeatures, PredictAnswersAsEvalDoesAndSoDoesItsFile) {
  const auto data = Dataset::open(shop_.data());
  std::vector<uint8_t> bytes;
  for (const uint64_t id : data->ids(Split::kTest)) {
    data->read(id, bytes);
    write_bytes(file("pictures/" + std::to_string(10000 + id) + ".png"), bytes);
  }
  const std::string line = "predict" + model() + "--images " + file("pictures") + kAll + "--cache " + file("heads") + " --out ",
                    save = file("classifier.safetensors");
  const RunResult made = dinoxx_run(line + file("direct.csv") + " --save " + save);
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_EQ(json_file(file("direct.json"))["head"]["features"], "last 2 stages, averaged over 2 x 2 cells, whitened (shrinkage 0.3)");
  ASSERT_EQ(dinoxx_run(line + file("kept.csv")).code, 0);
  EXPECT_TRUE(json_file(file("kept.json"))["run"]["head"]["stored_before"].get<bool>());
  EXPECT_THAT(made.output, HasSubstr("features: last 2 stages"));
  EXPECT_THAT(dinoxx_run("weights inspect " + save).output, HasSubstr("features: last 2 stages"));
  ASSERT_EQ(dinoxx_run("predict --classifier " + save + " --images " + file("pictures") + " --out " + file("alone.csv"), 2).code, 0);
  for (const char* name : {"kept.csv", "alone.csv"}) EXPECT_EQ(read_text(file(name)), read_text(file("direct.csv"))) << name;

  ASSERT_EQ(dinoxx_run("eval" + model() + "--protocol logistic --baselines none --cache none --out " + file("logistic") + kAll).code, 0);
  const auto answers = read_table(file("logistic/predictions_linear.csv")), table = read_table(file("direct.csv"));
  ASSERT_EQ(table.size(), answers.size());
  const auto column = [](const std::vector<std::string>& heading, const std::string& name) {
    return static_cast<size_t>(std::find(heading.begin(), heading.end(), name) - heading.begin());
  };
  const size_t closest = column(table[0], "closest"), plain = column(answers[0], "teacher:plain");
  for (size_t row = 1; row < table.size(); ++row) EXPECT_EQ(table[row].at(closest), answers[row].at(plain)) << row;
}

}  // namespace
}  // namespace dinoxx
