#include <gmock/gmock.h>

#include <fstream>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "program.hpp"

namespace dinoxx::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(ReportCommand, ARunAnEvaluationAndAComparisonHavePages) {
  Workshop& workshop = Workshop::get();
  const fs::path run = workshop.run(), out = workshop.folder.path() / "evaluated", table = workshop.folder.path() / "runs.csv",
                 side = workshop.folder.path() / "runs.html";
  const RunResult trained = dinoxx_run("report " + run.string());
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(read_text(run / "report.html"), HasSubstr("dinoxx train"));

  ASSERT_EQ(dinoxx_run("eval --checkpoint " + run.string() + " --data " + workshop.data().string() +
                       " --protocol knn,logistic --baselines none --out " + out.string())
                .code,
            0);
  const RunResult evaluated = dinoxx_run("report " + out.string() + " --data " + workshop.data().string());
  ASSERT_EQ(evaluated.code, 0) << evaluated.output;
  const std::string page = read_text(out / "report.html");
  EXPECT_THAT(page, HasSubstr("logistic regression, logit-adjusted on features of the checkpoint"));
  EXPECT_THAT(page, HasSubstr("src=\"data:image/png;base64,"));

  const RunResult compared = dinoxx_run("compare " + run.string() + " --csv " + table.string() + " --html " + side.string());
  ASSERT_EQ(compared.code, 0) << compared.output;
  EXPECT_THAT(compared.output, HasSubstr("100 %"));
  EXPECT_THAT(read_text(table), HasSubstr("run,group,method"));
  EXPECT_THAT(page, HasSubstr("Suspected label errors"));
  for (const auto& image : json_file(out / "results.json")["evidence"]["pictures"]["images"]) {
    EXPECT_TRUE(fs::exists(out / image["files"]["pca"].get<std::string>()));
    EXPECT_THAT(page, HasSubstr("first three principal components as colours"));
  }
}

TEST(CompareCommand, EvaluationsOfOneDataSetArePairedAndOthersRefused) {
  Workshop& workshop = Workshop::get();
  const fs::path folder = workshop.folder.path();
  const auto evaluate = [&](const std::string& name, const std::string& more) {
    const fs::path out = folder / name;
    const RunResult result = dinoxx_run("eval --checkpoint " + workshop.run().string() + " --data " + workshop.data().string() +
                                        " --baselines none --cache none --out " + out.string() + " " + more);
    EXPECT_EQ(result.code, 0) << result.output;
    return out.string();
  };
  const std::string last = evaluate("last", "--protocol knn,few_shot"), early = evaluate("early", "--protocol knn --checkpoint-step 3"),
                    val = evaluate("on_val", "--protocol knn --split val");
  const fs::path page = folder / "which.html", table = folder / "which.csv", all = folder / "which.json";
  const RunResult compared =
      dinoxx_run("compare " + last + " " + early + " --html " + page.string() + " --csv " + table.string() + " --json " + all.string());
  ASSERT_EQ(compared.code, 0) << compared.output;
  for (const char* words : {"2 evaluations on the toy set", "images/s/thread", "By k-NN, class-balanced vote",
                            "note: few_shot is not compared: not run for early"})
    EXPECT_THAT(compared.output, HasSubstr(words));
  const auto comparison = json_file(all);
  // the tests are those of the table of answers
  const auto& vote = comparison["methods"][1];
  EXPECT_EQ(vote["method"], "vote");
  for (size_t i = 0; i < 2; ++i) {
    const auto results = json_file(fs::path(i == 0 ? last : early) / "results.json");
    EXPECT_EQ(vote["scores"][i]["accuracy"], results["suites"]["knn"]["results"][0]["methods"]["vote"]["accuracy"]);
    EXPECT_GT(comparison["checkpoints"][i]["cost"]["images_per_core_second"].get<double>(), 0);
  }
  const auto& accuracy = vote["pairs"][0]["accuracy"];
  EXPECT_EQ(accuracy["only_first_right"].get<int64_t>() - accuracy["only_second_right"].get<int64_t>(),
            vote["scores"][0]["correct"].get<int64_t>() - vote["scores"][1]["correct"].get<int64_t>());
  EXPECT_THAT(read_text(page), HasSubstr("Which backbone?"));
  EXPECT_THAT(read_text(table), HasSubstr("checkpoint,file,crc32c"));

  expect_refusal(dinoxx_run("compare " + last + " " + val + " --csv " + (folder / "no.csv").string()), 2,
                 {"last and on_val", "the same test images"}, folder / "no.csv");
  expect_refusal(dinoxx_run("compare " + last), 2, {"two evaluations or more"});
  expect_refusal(dinoxx_run("compare " + last + " " + workshop.run().string()), 2, {"of one kind"});
  expect_refusal(dinoxx_run("compare " + workshop.run().string() + " --json x.json"), 2, {"--json", "--csv"});
}

TEST(EvalCommand, SeveralCheckpointsAreEvaluatedOnceAndPutSideBySide) {
  Workshop& workshop = Workshop::get();
  const fs::path checkpoints = workshop.run() / "checkpoints", out = workshop.folder.path() / "several";
  const auto line = [&](const std::string& more) {
    return "eval --checkpoint " + (checkpoints / "step_00000003").string() + " --checkpoint " + (checkpoints / "step_00000006").string() +
           " --data " + workshop.data().string() + " --protocol knn --out " + out.string() + " " + more;
  };
  const RunResult first = dinoxx_run(line("--quiet"), 2);
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("2 evaluations on the toy set"));
  EXPECT_THAT(read_text(out / "comparison.html"), HasSubstr("Which backbone?"));
  const auto comparison = json_file(out / "comparison.json");
  EXPECT_EQ(comparison["checkpoints"][0]["folder"], "step_00000003");
  EXPECT_EQ(comparison["checkpoints"][1]["step"], 6);
  const fs::path one = out / "step_00000003";
  EXPECT_TRUE(fs::exists(one / "report.html"));
  EXPECT_EQ(json_file(one / "results.json")["suites"]["knn"]["results"].size(), 1u);  // no baselines unless they are asked for
  // the same numbers as alone, and side by side again
  const fs::path alone = workshop.folder.path() / "alone";
  ASSERT_EQ(dinoxx_run("eval --checkpoint " + (checkpoints / "step_00000003").string() + " --data " + workshop.data().string() +
                       " --protocol knn --baselines none --quiet --out " + alone.string())
                .code,
            0);
  EXPECT_EQ(results_without_run(alone), results_without_run(one));
  EXPECT_THAT(dinoxx_run("compare " + out.string()).output, HasSubstr("2 evaluations on the toy set"));

  const std::string before = read_text(one / "results.json"), all = read_text(out / "comparison.json");
  const RunResult second = dinoxx_run(line(""));
  ASSERT_EQ(second.code, 0) << second.output;
  EXPECT_THAT(second.output, HasSubstr("step_00000006: " + (out / "step_00000006" / "results.json").string() + ", as it was"));
  EXPECT_EQ(read_text(one / "results.json"), before);
  EXPECT_EQ(read_text(out / "comparison.json"), all);
  // what is damaged or asked otherwise is evaluated again, and said
  fs::remove(one / "predictions_knn.csv");
  EXPECT_THAT(dinoxx_run(line("")).output,
              testing::AllOf(HasSubstr("step_00000003 (1 of 2): evaluated again: those in the folder cannot be read"),
                             HasSubstr("step_00000006/results.json, as it was")));
  EXPECT_EQ(results_without_run(alone), results_without_run(one));
  EXPECT_THAT(dinoxx_run(line("--seed 1")).output, HasSubstr("evaluated again: those in the folder differ in seed"));
  EXPECT_EQ(json_file(one / "results.json")["seed"], 1);
}

// Results of one rule of decision are not those of another, nor those of a table of costs that has changed since.
TEST(EvalCommand, AnotherRuleOfDecisionIsEvaluatedAgain) {
  Workshop& workshop = Workshop::get();
  const fs::path checkpoints = workshop.run() / "checkpoints", out = workshop.folder.path() / "rules",
                 table = workshop.folder.path() / "costs.csv";
  const auto line = [&](const std::string& rule) {
    return "eval --checkpoint " + (checkpoints / "step_00000003").string() + " --checkpoint " + (checkpoints / "step_00000006").string() +
           " --data " + workshop.data().string() + " --protocol logistic --out " + out.string() + " " + rule;
  };
  const auto costs = [&](const std::string& of_an_error) {
    const std::vector<std::string> classes = Dataset::open(workshop.data())->class_names();
    std::string text = "true";
    for (const std::string& name : classes) text += "," + name;
    for (const std::string& name : classes) {
      text += "\n" + name;
      for (const std::string& answer : classes) text += answer == name ? ",0" : "," + of_an_error;
    }
    write_file_atomically(table, text + "\n");
    return "--cost " + table.string();
  };
  const auto ran = [&](const std::string& rule) {
    const RunResult result = dinoxx_run(line(rule));
    EXPECT_EQ(result.code, 0) << result.output;
    return result.output;
  };
  ran(costs("1"));
  EXPECT_THAT(ran(costs("1")), HasSubstr("step_00000003/results.json, as it was"));
  EXPECT_THAT(ran(costs("2")), HasSubstr("those in the folder differ in decision"));
  EXPECT_THAT(ran(""), HasSubstr("those in the folder differ in decision"));
}

TEST(EvalCommand, WhatBelongsToOneOfSeveralCheckpointsIsRefusedBeforeAnythingIsComputed) {
  Workshop& workshop = Workshop::get();
  const fs::path run = workshop.run(), folder = workshop.folder.path(), out = folder / "refused", damaged = folder / "damaged.safetensors";
  const std::string line = "eval --data " + workshop.data().string() + " --out " + out.string() + " --checkpoint " + run.string();
  std::ofstream(damaged) << "no weights";
  expect_refusal(dinoxx_run(line + " --checkpoint " + damaged.string()), 1, {"damaged.safetensors"}, out);
  expect_refusal(dinoxx_run(line + " --checkpoint " + run.string() + "/"), 2, {"twice"}, out);
  const std::string two = line + " --checkpoint " + (run / "checkpoints" / "step_00000003").string();
  expect_refusal(dinoxx_run(two + " --model.heads 2"), 2, {"--model.heads", "one --checkpoint"}, out);
  expect_refusal(dinoxx_run(two + " --checkpoint-step 3"), 2, {"--checkpoint-step", "RUN/checkpoints"}, out);
  expect_refusal(dinoxx_run(two + " --image-size 33", 2), 2, {"--image-size", "multiple"}, out);
  fs::create_directories(folder / "single");
  std::ofstream(folder / "single" / "results.json") << "{}";
  expect_refusal(
      dinoxx_run("eval --data " + workshop.data().string() + " --checkpoint a --checkpoint b --out " + (folder / "single").string()), 2,
      {"--out"}, folder / "single" / "comparison.json");
  expect_refusal(dinoxx_run("embed --checkpoint a --checkpoint b --data " + workshop.data().string() + " --out x.npy"), 2,
                 {"one network", "dinoxx eval"});
}

TEST(ReportCommand, OtherFoldersAreRefused) {
  const fs::path folder = Workshop::get().folder.path(), empty = folder / "nothing_in_it";
  fs::create_directories(empty);
  expect_refusal(dinoxx_run("report " + empty.string()), 2, {"nothing_in_it", "metrics.jsonl"}, empty / "report.html");
  for (const char* command : {"propagate", "match"}) {
    const fs::path other = folder / command;
    fs::create_directories(other);
    std::ofstream(other / "results.json") << "{\"format\": \"dinoxx " << command << "\"}";
    expect_refusal(dinoxx_run("report " + other.string()), 2, {"results of \"dinoxx eval\"", std::string("results of \"dinoxx ") + command},
                   other / "report.html");
  }
  expect_refusal(dinoxx_run("report"), 2, {"a run folder"});
  expect_refusal(dinoxx_run("compare " + empty.string()), 2, {"nothing_in_it", "metrics.jsonl"});
  expect_refusal(dinoxx_run("compare"), 2, {"run folders"});
  expect_refusal(dinoxx_run("report " + Workshop::get().run().string() + " --data x"), 2, {"--data"});
}

}  // namespace
}  // namespace dinoxx::testing_support
