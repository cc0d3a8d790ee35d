// The whole product in one thin slice, as a user runs it: pack, train on two ranks, evaluate at several numbers of ranks.
#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <sstream>

#include "dinoxx/data_pipeline/dataset.hpp"
#include "formats/safetensors.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using namespace testing_support;

std::string eval_line(const fs::path& checkpoint, const fs::path& out, const std::string& more = "") {
  return "eval --checkpoint " + checkpoint.string() + " --data " + Workshop::get().data().string() + " --protocol knn --cache none --out " +
         out.string() + " " + more;
}

struct Prediction {
  uint64_t id;
  std::string label, teacher;
};

// The toy set's keys and classes need no quotes.
std::vector<Prediction> read_predictions(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "id,key,label,teacher:vote,teacher:balanced_vote,untrained:vote,untrained:balanced_vote,raw:vote,raw:balanced_vote");
  std::vector<Prediction> predictions;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::vector<std::string> f;
    for (std::string field; std::getline(fields, field, ',');) f.push_back(field);
    if (f.size() != 9) {
      ADD_FAILURE() << line;
      continue;
    }
    predictions.push_back({std::stoull(f[0]), f[2], f[3]});
  }
  return predictions;
}

fs::path newest_checkpoint(const fs::path& run) { return run / "checkpoints" / "step_00000006"; }

TEST(EndToEnd, TrainingScoresTheTeacherOnValAtTheScheduledStepsAndAtTheEnd) {
  const auto data = Dataset::open(Workshop::get().data());
  std::map<int64_t, json> evals;
  for (const json& line : json_lines(Workshop::get().run() / "metrics.jsonl")) {
    if (line.contains("eval")) evals[line["step"]] = line["eval"];
  }
  ASSERT_EQ(evals.size(), 2u);
  for (const int64_t step : {3, 6}) {
    ASSERT_TRUE(evals.contains(step));
    const json& eval = evals[step];
    ASSERT_FALSE(eval.contains("error")) << eval;
    EXPECT_EQ(eval["queries"], "val");
    EXPECT_EQ(eval["count"], data->ids(Split::kVal).size());
    EXPECT_EQ(eval["k"], 20);
    EXPECT_GE(eval["accuracy"].get<double>(), 0.0);
    EXPECT_LE(eval["accuracy"].get<double>(), 1.0);
  }
}

TEST(EndToEnd, EvalCountsEachTestImageOnceAndSaysTheSameAtAnyNumberOfRanks) {
  Workshop& shop = Workshop::get();
  const auto data = Dataset::open(shop.data());
  const fs::path alone = shop.folder / "eval0";
  const RunResult first = dinoxx_run(eval_line(shop.run(), alone));
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("*k=20"));
  EXPECT_THAT(first.output, HasSubstr("results.json"));

  const json results = results_without_run(alone);
  const std::vector<uint64_t> test = data->ids(Split::kTest), train = data->ids(Split::kTrain);
  const json& knn = results["suites"]["knn"];
  EXPECT_EQ(knn["protocol"]["queries"], (json{{"source", "test"}, {"images", test.size()}}));
  EXPECT_EQ(knn["protocol"]["memory"], (json{{"source", "train"}, {"images", train.size()}}));
  EXPECT_EQ(results["checkpoint"]["step"], 6);
  EXPECT_EQ(results["data"]["fingerprint"], data->fingerprint());
  ASSERT_EQ(knn["results"].size(), 3u);
  const json& teacher = knn["results"].at(0);
  EXPECT_EQ(teacher["name"], "teacher");
  EXPECT_EQ(teacher["headline"]["k"], 20);

  const std::vector<Prediction> predictions = read_predictions(alone / "predictions_knn.csv");
  ASSERT_EQ(predictions.size(), test.size());
  int64_t correct = 0;
  for (size_t i = 0; i < test.size(); ++i) {
    EXPECT_EQ(predictions[i].id, test[i]);
    EXPECT_EQ(predictions[i].label, data->class_names()[data->meta(test[i]).label]);
    correct += predictions[i].label == predictions[i].teacher ? 1 : 0;
  }
  EXPECT_EQ(teacher["headline"]["correct"], correct);
  EXPECT_EQ(teacher["headline"]["count"], test.size());
  int64_t support = 0, recalled = 0;
  for (const json& row : teacher["classes"]) {
    support += row["queries"].get<int64_t>();
    recalled += row["correct"].get<int64_t>();
  }
  EXPECT_EQ(support, static_cast<int64_t>(test.size()));
  EXPECT_EQ(recalled, correct);

  for (const int ranks : {1, 2, 3}) {
    const fs::path out = shop.folder / ("eval" + std::to_string(ranks));
    const RunResult run = dinoxx_run(eval_line(shop.run(), out, "--threads " + std::to_string(ranks == 2 ? 2 : 1)), ranks);
    ASSERT_EQ(run.code, 0) << run.output;
    EXPECT_EQ(results_without_run(out), results) << ranks << " ranks";
    EXPECT_EQ(json_file(out / "results.json")["run"]["ranks"], ranks);
    std::ifstream a(alone / "predictions_knn.csv"), b(out / "predictions_knn.csv");
    const std::string text_a{std::istreambuf_iterator<char>(a), {}}, text_b{std::istreambuf_iterator<char>(b), {}};
    EXPECT_EQ(text_a, text_b) << ranks << " ranks";
  }
}

TEST(EndToEnd, TheWholeLadderSaysTheSameAtAnyNumberOfRanks) {
  Workshop& shop = Workshop::get();
  json alone;
  for (const int ranks : {0, 2, 7}) {
    const fs::path out = shop.folder / ("ladder" + std::to_string(ranks));
    const RunResult run = dinoxx_run("eval --checkpoint " + shop.run().string() + " --data " + shop.data().string() +
                                         " --protocol all --finetune.max_minutes 0 --cache none --baselines raw --threads " +
                                         std::to_string(ranks == 2 ? 2 : 1) + " --out " + out.string(),
                                     ranks);
    ASSERT_EQ(run.code, 0) << run.output;
    const json results = results_without_run(out);
    if (ranks > 0) {
      EXPECT_EQ(results.dump(), alone.dump()) << ranks << " ranks";
      continue;
    }
    alone = results;
    for (const char* step : {"knn", "zero", "few", "linear"}) EXPECT_EQ(results["suites"][step]["results"].size(), 2u) << step;
    // fine-tuning is equal up to the order of summation, and offered where nobody named it and it takes long
    EXPECT_THAT(results["suites"]["finetune"]["results"].at(0)["left_out"].get<std::string>(), HasSubstr("--protocol finetune runs it"));
    for (const char* part : {"K=16", "simpleshot", "logit_adjusted", "majority class", "mAP", "was not run: about"})
      EXPECT_THAT(run.output, HasSubstr(part));
    EXPECT_TRUE(results["checks"]["identical"]["images"].is_number());
    EXPECT_TRUE(results["suites"]["linear"]["results"].at(0)["methods"]["plain"]["bootstrap95"]["balanced_accuracy"].is_array());
    EXPECT_TRUE(fs::exists(out / "predictions_linear.csv"));
  }
}

TEST(EndToEnd, AFileScoresAsTheRunThatItIsFromAndAnEarlierCheckpointCanBeNamed) {
  Workshop& shop = Workshop::get();
  const auto scores = [&](const std::string& name, const fs::path& checkpoint, const std::string& more) {
    const fs::path out = shop.folder / name;
    const RunResult run = dinoxx_run(eval_line(checkpoint, out, "--baselines none " + more));
    EXPECT_EQ(run.code, 0) << run.output;
    return results_without_run(out);
  };
  const json from_run = scores("from_run", shop.run(), "");
  EXPECT_EQ(from_run["suites"]["knn"]["results"].size(), 1u);
  const json whole = scores("from_teacher", newest_checkpoint(shop.run()) / "teacher.safetensors", "");
  EXPECT_EQ(whole, from_run);
  const json bare = scores("from_backbone", newest_checkpoint(shop.run()) / "backbone.safetensors", "");
  EXPECT_EQ(bare["suites"], from_run["suites"]);

  const json earlier = scores("earlier", shop.run(), "--checkpoint-step 3");
  EXPECT_EQ(earlier["checkpoint"]["step"], 3);
  EXPECT_NE(earlier["checkpoint"]["crc32c"], from_run["checkpoint"]["crc32c"]);
  const json val = scores("on_val", shop.run(), "--split val");
  EXPECT_EQ(val["suites"]["knn"]["protocol"]["queries"]["source"], "val");

  // as another program would have written it: no word about the configuration
  const SafetensorsFile file(newest_checkpoint(shop.run()) / "backbone.safetensors");
  write_safetensors(shop.folder / "foreign.safetensors", file.tensors());
  const json foreign = scores("from_foreign", shop.folder / "foreign.safetensors", "--model.heads 2");
  EXPECT_EQ(foreign["suites"], from_run["suites"]);
  EXPECT_THAT(scores("guessed", shop.folder / "foreign.safetensors", "")["checkpoint"]["notes"].dump(), HasSubstr("heads assumed"));
}

TEST(EndToEnd, EvaluationChangesNoBitOfTraining) {
  Workshop& shop = Workshop::get();
  for (const auto& [name, every] : std::map<std::string, std::string>{{"with_eval", "1it"}, {"without_eval", "0"}}) {
    const RunResult run = dinoxx_run(train_line(shop.data(), shop.folder / name, "--checkpoint.every 0 --eval.every " + every), 2);
    ASSERT_EQ(run.code, 0) << run.output;
  }
  const auto evals = [&](const char* name) {
    int count = 0;
    for (const json& line : json_lines(shop.folder / name / "metrics.jsonl")) count += line.contains("eval") ? 1 : 0;
    return count;
  };
  EXPECT_EQ(evals("with_eval"), 3);
  EXPECT_EQ(evals("without_eval"), 0);
  int tensors = 0;
  for (const char* name : {"rank_00000_of_00002.safetensors", "rank_00001_of_00002.safetensors", "teacher.safetensors"}) {
    const SafetensorsFile with(shop.folder / "with_eval" / "checkpoints" / "step_00000003" / name);
    const SafetensorsFile without(shop.folder / "without_eval" / "checkpoints" / "step_00000003" / name);
    ASSERT_EQ(with.tensors().size(), without.tensors().size());
    for (const auto& [key, view] : with.tensors()) {
      EXPECT_TRUE(std::ranges::equal(view.bytes, without.at(key).bytes)) << key;
      ++tensors;
    }
  }
  EXPECT_GT(tensors, 100);
}

// Flips a byte in the middle of sample `id` of a copy of the data.
fs::path damaged_copy(const std::string& name, uint64_t id) {
  Workshop& shop = Workshop::get();
  const fs::path copy = shop.folder / name;
  fs::copy(shop.data(), copy, fs::copy_options::recursive);
  std::vector<uint8_t> bytes;
  Dataset::open(copy)->read(id, bytes);
  const fs::path shard = copy / "shard-00000.h5";
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  const size_t at = content.find(std::string(bytes.begin(), bytes.end()));
  EXPECT_NE(at, std::string::npos);
  file.clear();
  file.seekp(static_cast<std::streamoff>(at + bytes.size() / 2));
  file.put(static_cast<char>(bytes[bytes.size() / 2] ^ 0x10));
  return copy;
}

TEST(EndToEnd, ADamagedValImageIsLoggedByTrainingAndDoesNotEndIt) {
  Workshop& shop = Workshop::get();
  const auto data = Dataset::open(shop.data());
  const uint64_t victim = data->ids(Split::kVal).back();
  const fs::path damaged = damaged_copy("damaged_val", victim);
  const RunResult run = dinoxx_run(train_line(damaged, shop.folder / "run_damaged_val", "--eval.every 1it"), 2);
  ASSERT_EQ(run.code, 0) << run.output;
  int failures = 0;
  for (const json& line : json_lines(shop.folder / "run_damaged_val" / "metrics.jsonl")) {
    if (!line.contains("eval")) continue;
    ASSERT_TRUE(line["eval"].contains("error")) << line;
    EXPECT_THAT(line["eval"]["error"].get<std::string>(), HasSubstr(data->key(victim)));
    ++failures;
  }
  EXPECT_EQ(failures, 3);
  EXPECT_TRUE(fs::exists(shop.folder / "run_damaged_val" / "checkpoints" / "step_00000003" / "manifest.json"));
}

TEST(EndToEnd, ADamagedTestImageEndsEvalWithItsNameAndLeavesNothing) {
  Workshop& shop = Workshop::get();
  const auto data = Dataset::open(shop.data());
  const uint64_t victim = data->ids(Split::kTest).back();
  const fs::path damaged = damaged_copy("damaged_test", victim), top = shop.folder / "eval_damaged", out = top / "a" / "b";
  for (const int ranks : {0, 2}) {
    const RunResult run = dinoxx_run(
        "eval --checkpoint " + shop.run().string() + " --data " + damaged.string() + " --cache none --out " + out.string(), ranks);
    expect_refusal(run, 1, {data->key(victim)}, top);
  }
}

}  // namespace
}  // namespace dinoxx
