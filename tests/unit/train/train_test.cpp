// The loop in one process, where failures can be put in by hand. What needs processes and signals: tests/integration/train and tests/fault.
#include "dinoxx/train/train.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "dinoxx/checkpoint/checkpoint.hpp"
#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/core/safetensors.hpp"
#include "dinoxx/data/pack.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class TrainTest : public testing::Test {
 protected:
  TrainTest() : work_(fs::temp_directory_path() / ("dinoxx_train_test_" + std::to_string(::getpid()))) {
    PackOptions pack_options;
    pack_options.source = PackOptions::Source::kToy;
    pack_options.toy.count = 80;
    pack_options.out = work_ / "data";
    fs::create_directories(work_);
    pack(pack_options);
    options_.config = default_config();
    apply_settings(
        options_.config,
        parse_settings(
            "[model]\ndim = 16\ndepth = 1\nheads = 2\npatch_size = 8\n[head]\nout_dim = 16\nhidden_dim = 16\nbottleneck_dim = 8\n"
            "[views]\nglobal_size = 16\nlocal_count = 0\n[train]\nbatch_size = 8\nlength = 6it\nlog_every = 1\n"
            "[checkpoint]\nevery = 0\n[eval]\nevery = 2it\n",
            "test"));
    options_.data = work_ / "data";
    options_.out = work_ / "run";
  }
  ~TrainTest() override { fs::remove_all(work_); }
  ExitCode run() { return train(options_, {make_self_communicator(), make_self_communicator(), make_self_communicator()}); }
  std::vector<json> metrics() const {
    std::ifstream file(options_.out / "metrics.jsonl");
    std::vector<json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
    return lines;
  }
  fs::path work_;
  TrainOptions options_;
};

TEST_F(TrainTest, AFailedEvaluationIsLoggedAndTrainingGoesOn) {
  int calls = 0;
  options_.make_eval_hook = [&](std::shared_ptr<const Dataset> dataset, const Config& resolved) -> EvalHook {
    EXPECT_GT(dataset->size(), 0u);
    EXPECT_TRUE(resolved.teacher.temp.has_value());
    return [&](const Network& teacher, int64_t step) -> json {
      if (++calls == 2) throw std::runtime_error("the evaluation broke");
      return {{"suite", "test"}, {"step", step}, {"dim", teacher.backbone.feature_dim()}};
    };
  };
  EXPECT_EQ(run(), ExitCode::kDone);
  EXPECT_EQ(calls, 3);
  std::vector<json> evaluations;
  for (const json& line : metrics())
    if (line.contains("eval")) evaluations.push_back(line);
  ASSERT_EQ(evaluations.size(), 3u);
  EXPECT_EQ(evaluations[0]["eval"]["dim"], 16);
  EXPECT_EQ(evaluations[1]["step"], 4);
  EXPECT_EQ(evaluations[1]["eval"]["error"], "the evaluation broke");
  EXPECT_EQ(metrics().back()["step"], 6);
}

TEST_F(TrainTest, StopsWhenAskedAndGoesOn) {
  int asked = 0;
  options_.stop_signal = [&]() -> const char* { return ++asked >= 3 ? "SIGTEST" : nullptr; };
  EXPECT_EQ(run(), ExitCode::kStopped);
  const auto checkpoint = latest_checkpoint(options_.out);
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(read_manifest(*checkpoint)["step"], 3);
  options_.stop_signal = [] { return static_cast<const char*>(nullptr); };
  EXPECT_EQ(run(), ExitCode::kDone);
  std::vector<int64_t> steps;
  for (const json& line : metrics())
    if (line.contains("loss")) steps.push_back(line["step"]);
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
}

TEST_F(TrainTest, TheRunFolderIsLockedWhileARunLives) {
  int attempts = 0;
  options_.make_eval_hook = [&](std::shared_ptr<const Dataset>, const Config&) -> EvalHook {
    return [&](const Network&, int64_t) -> json {
      TrainOptions second = options_;  // while the first still runs
      second.make_eval_hook = nullptr;
      std::string told = "nothing";
      try {
        train(second, {make_self_communicator(), make_self_communicator(), make_self_communicator()});
      } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
        told = error.what();
      }
      return {{"told", told}};
    };
  };
  EXPECT_EQ(run(), ExitCode::kDone);
  for (const json& line : metrics()) {
    if (!line.contains("eval")) continue;
    ++attempts;
    EXPECT_THAT(line["eval"]["told"].get<std::string>(), HasSubstr(fmt::format("process {}", ::getpid())));
  }
  EXPECT_EQ(attempts, 3);
}

TEST_F(TrainTest, TheTeachersWeightsAreStoredUnderTheirPublishedNames) {
  options_.config.eval.every = {};
  EXPECT_EQ(run(), ExitCode::kDone);
  const fs::path checkpoint = *latest_checkpoint(options_.out);
  const SafetensorsFile teacher(checkpoint / "teacher.safetensors"), backbone(checkpoint / "backbone.safetensors");
  for (const char* name : {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "norm.bias"}) {
    EXPECT_EQ(backbone.at(name).bytes.size(), teacher.at(std::string("backbone.") + name).bytes.size());
    EXPECT_EQ(backbone.at(name).dtype, DType::kF32);
  }
  EXPECT_EQ(teacher.at("head.last_layer.weight_v").shape, (std::vector<int64_t>{16, 8}));
  EXPECT_EQ(backbone.at("pos_embed").shape, (std::vector<int64_t>{1, 5, 16}));
  Config config = default_config();  // what the file was trained with is in the file
  apply_settings(config, parse_settings(teacher.metadata().at("dinoxx.config"), "metadata"));
  EXPECT_EQ(config.model.dim, 16);
}

}  // namespace
}  // namespace dinoxx
