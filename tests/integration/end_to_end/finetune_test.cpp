// Light fine-tuning as a user runs it: the step alone, its files in every other command, and what it says to bad values.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

using namespace testing_support;

std::string eval_line(const fs::path& checkpoint, const fs::path& out, const std::string& more) {
  return "eval --checkpoint " + checkpoint.string() + " --data " + Workshop::get().data().string() +
         " --baselines none --cache none --out " + out.string() + " " + more;
}

// A column of a table whose fields need no quotes, by the text of its key column.
std::map<std::string, std::string> column_of(const fs::path& table, const std::string& key, const std::string& column) {
  std::istringstream text(read_text(table));
  std::map<std::string, std::string> values;
  size_t key_at = 0, column_at = 0;
  for (std::string line; std::getline(text, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, ',');) fields.push_back(field);
    if (key_at == column_at) {
      key_at = static_cast<size_t>(std::find(fields.begin(), fields.end(), key) - fields.begin());
      column_at = static_cast<size_t>(std::find(fields.begin(), fields.end(), column) - fields.begin());
      EXPECT_LT(std::max(key_at, column_at), fields.size()) << line;
      continue;
    }
    if (std::max(key_at, column_at) < fields.size()) values[fields[key_at]] = fields[column_at];
  }
  return values;
}

// A folder of the test images, each named by its id.
fs::path test_pictures() {
  Workshop& shop = Workshop::get();
  const fs::path folder = shop.folder / "pictures";
  fs::create_directories(folder);
  const auto data = Dataset::open(shop.data());
  for (const uint64_t id : data->ids(Split::kTest)) {
    std::vector<uint8_t> bytes;
    data->read(id, bytes);
    write_file_atomically(folder / (std::to_string(id) + ".png"), std::string(bytes.begin(), bytes.end()));
  }
  return folder;
}

TEST(FineTuning, WhatWasTunedAnswersAloneAndIsACheckpointForEveryCommand) {
  Workshop& shop = Workshop::get();
  const fs::path out = shop.folder / "tuned";
  const RunResult run = dinoxx_run(eval_line(
      shop.run(), out, "--protocol finetune --finetune.methods lora,norm --finetune.epochs 2 --finetune.lr 1e-2 --finetune.save merged"));
  ASSERT_EQ(run.code, 0) << run.output;
  const json results = json_file(out / "results.json");
  const json& methods = results["suites"]["finetune"]["results"].at(0)["methods"];
  for (const char* method : {"lora", "norm"}) {
    EXPECT_EQ(methods[method]["count"], 32) << method;
    EXPECT_TRUE(results["run"]["steps"]["finetune"]["teacher"][method]["seconds"].is_number()) << method;
    for (const char* end : {".safetensors", "_merged.safetensors"})
      EXPECT_TRUE(fs::exists(out / ("finetune_" + std::string(method) + end)));
  }
  // the report and its evidence speak of the first of the fixed order, whatever scored best
  EXPECT_EQ(results["evidence"]["neighbours"]["method"], (json{"finetune", "teacher", "lora"}));
  EXPECT_FALSE(results["evidence"]["pictures"]["images"].empty());
  const std::string page = read_text(out / "report.html");
  EXPECT_THAT(page, HasSubstr("<strong>fine-tuning, LoRA on features of the checkpoint: balanced accuracy"));
  EXPECT_THAT(page, HasSubstr("first three principal components as colours"));

  // the tuned head, on pictures from files, says what it said of the same pictures in the evaluation
  const fs::path merged = out / "finetune_lora_merged.safetensors", pictures = test_pictures(), table = shop.folder / "answers.csv";
  const RunResult predicted = dinoxx_run("predict --method finetuned --checkpoint " + merged.string() + " --data " + shop.data().string() +
                                         " --images " + pictures.string() + " --out " + table.string());
  ASSERT_EQ(predicted.code, 0) << predicted.output;
  const auto expected = column_of(out / "predictions_finetune.csv", "id", "teacher:lora"), found = column_of(table, "path", "closest");
  ASSERT_EQ(expected.size(), 32u);
  ASSERT_EQ(found.size(), 32u);
  for (const auto& [id, name] : expected) EXPECT_EQ(found.at(id + ".png"), name) << id;

  // the merged network and the same written for another tool have the same features
  const fs::path exported = shop.folder / "exported";
  const RunResult written = dinoxx_run("weights export " + merged.string() + " --naming timm --out " + exported.string());
  ASSERT_EQ(written.code, 0) << written.output;
  json knn;
  for (const fs::path& checkpoint : {merged, exported / "model.safetensors"}) {
    const fs::path folder = shop.folder / ("knn_of_" + checkpoint.stem().string());
    const RunResult scored = dinoxx_run(eval_line(checkpoint, folder, "--protocol knn --model.heads 2"));
    ASSERT_EQ(scored.code, 0) << scored.output;
    const json of_suite = json_file(folder / "results.json")["suites"]["knn"]["results"];
    if (knn.is_null()) knn = of_suite;
    EXPECT_EQ(of_suite, knn);
  }
}

TEST(FineTuning, AHeadIsAskedOfAFileThatHasOne) {
  Workshop& shop = Workshop::get();
  const fs::path table = shop.folder / "no_answers.csv";
  expect_refusal(dinoxx_run("predict --method finetuned --checkpoint " + shop.run().string() + " --data " + shop.data().string() +
                            " --images " + test_pictures().string() + " --out " + table.string()),
                 2, {"a merged file of fine-tuning", "without a head"}, table);
}

TEST(FineTuning, ValuesThatMeanNothingAreRefusedByName) {
  Workshop& shop = Workshop::get();
  const fs::path out = shop.folder / "refused";
  const std::map<std::string, std::pair<std::string, std::string>> bad{{"methods", {"lorra", "Did you mean lora"}},
                                                                       {"epochs", {"0", "1 or more"}},
                                                                       {"batch", {"0", "1 or more"}},
                                                                       {"lr", {"1e-3,-1", "above zero"}},
                                                                       {"loss", {"focus", "one of"}},
                                                                       {"sampler", {"plane", "one of plain"}},
                                                                       {"rank", {"0", "1 or more"}},
                                                                       {"layer_decay", {"1.5", "at most 1"}},
                                                                       {"ema", {"1", "below 1"}},
                                                                       {"targets", {"qkv,head", "proj"}},
                                                                       {"save", {"all", "merged"}},
                                                                       {"crop", {"0", "above 0"}}};
  for (const auto& [key, value] : bad)
    expect_refusal(dinoxx_run(eval_line(shop.run(), out, "--protocol finetune --finetune." + key + " " + value.first)), 2,
                   {"--finetune." + key, value.second}, out);
}

}  // namespace
}  // namespace dinoxx
