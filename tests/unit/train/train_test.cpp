// The loop in one process, where failures can be put in by hand. What needs processes and signals: tests/integration/train and tests/fault.
#include "train/train.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>

#include "base/crc32c.hpp"
#include "base/files.hpp"
#include "base/machine.hpp"
#include "checkpoint/checkpoint.hpp"
#include "comm/agree.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/run/eval_config.hpp"
#include "formats/safetensors.hpp"
#include "history/checkpoint_folders.hpp"
#include "loss/loss_config.hpp"
#include "method/teacher_config.hpp"
#include "model/model_config.hpp"
#include "optim/optim_config.hpp"
#include "train/training_config.hpp"

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

using Bytes = std::vector<std::byte>;

Bytes bytes_of(const TensorView& view) {
  return {view.bytes.begin(), view.bytes.end()};
}

// The tensors of a checkpoint's rank files whose entries begin with `part` ("teacher", "student.buffer"), put together by name.
std::map<std::string, Bytes> saved_state(const fs::path& checkpoint, const std::string& part) {
  std::map<std::string, Bytes> tensors;
  const json manifest = read_manifest(checkpoint);
  for (const json& file : manifest["files"]) {
    if (!file["name"].get<std::string>().starts_with("rank_")) continue;
    const SafetensorsFile entries(checkpoint / file["name"].get<std::string>());
    for (const auto& [entry, view] : entries.tensors()) {
      if (!entry.starts_with(part + "/")) continue;
      const size_t range = std::min(entry.find('['), entry.size());
      Bytes& whole = tensors[entry.substr(part.size() + 1, range - part.size() - 1)];
      const size_t begin = range < entry.size() ? std::stoul(entry.substr(range + 1)) * sizeof(float) : 0;
      whole.resize(std::max(whole.size(), begin + view.bytes.size()));
      std::copy(view.bytes.begin(), view.bytes.end(), whole.begin() + static_cast<int64_t>(begin));
    }
  }
  return tensors;
}

// That teacher.safetensors and backbone.safetensors hold the teacher, every value, and that the student's are others.
void expect_the_teachers_files(const fs::path& checkpoint, size_t buffers) {
  const SafetensorsFile whole(checkpoint / "teacher.safetensors"), backbone(checkpoint / "backbone.safetensors");
  std::map<std::string, Bytes> teacher = saved_state(checkpoint, "teacher"), student = saved_state(checkpoint, "student");
  teacher.merge(saved_state(checkpoint, "teacher.buffer"));
  student.merge(saved_state(checkpoint, "student.buffer"));
  EXPECT_EQ(saved_state(checkpoint, "teacher.buffer").size(), buffers);
  ASSERT_EQ(whole.tensors().size(), teacher.size());
  const std::string prefix = "backbone.";
  size_t of_backbone = 0;
  for (const auto& [name, view] : whole.tensors()) {
    EXPECT_EQ(bytes_of(view), teacher.at(name)) << name;
    // the count of batches is no weight: it tells how many sizes of crops each of the two has seen
    if (!name.ends_with("num_batches_tracked"))
      EXPECT_EQ(bytes_of(view) == student.at(name), name.ends_with("weight_g")) << name << " of the student";
    if (!name.starts_with(prefix)) continue;
    ++of_backbone;
    EXPECT_EQ(backbone.at(name.substr(prefix.size())).shape, view.shape) << name;
    EXPECT_EQ(bytes_of(backbone.at(name.substr(prefix.size()))), teacher.at(name)) << name;
  }
  EXPECT_EQ(backbone.tensors().size(), of_backbone);
}

TEST_F(TrainTest, AFailedEvaluationIsLoggedAndTrainingGoesOn) {
  int calls = 0;
  options_.make_eval_hook = [&](std::shared_ptr<const Dataset> dataset, const Config& resolved) -> EvalHook {
    EXPECT_GT(dataset->size(), 0u);
    EXPECT_TRUE(resolved.teacher->temp.has_value());
    return [&](const Network& teacher, int64_t step) -> json {
      if (++calls == 2) throw std::runtime_error("the evaluation broke");
      return {{"suite", "test"}, {"step", step}, {"dim", teacher.backbone().feature_dim()}};
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

// The length is no multiple of either rhythm: the last step is evaluated and saved all the same.
TEST_F(TrainTest, TheLastStepIsEvaluatedAndSaved) {
  for (const char* saving : {"4it", "0"}) {
    SCOPED_TRACE(saving);
    apply_settings(
        options_.config,
        parse_settings(fmt::format("[train]\nlength = 10it\n[eval]\nevery = 4it\n[checkpoint]\nevery = {}\nkeep = 9\n", saving), "test"));
    options_.out = work_ / ("run_" + std::string(saving));
    std::vector<int64_t> asked;
    options_.make_eval_hook = [&](std::shared_ptr<const Dataset>, const Config&) -> EvalHook {
      return [&](const Network&, int64_t step) -> json {
        asked.push_back(step);
        return {{"suite", "test"}};
      };
    };
    EXPECT_EQ(run(), ExitCode::kDone);
    EXPECT_EQ(asked, (std::vector<int64_t>{4, 8, 10}));
    std::vector<int64_t> logged, saved;
    for (const json& line : metrics())
      if (line.contains("eval")) logged.push_back(line["step"]);
    for (const fs::path& checkpoint : list_checkpoints(options_.out / "checkpoints")) saved.push_back(checkpoint_step(checkpoint));
    EXPECT_EQ(logged, asked);
    EXPECT_EQ(saved, std::string(saving) == "0" ? (std::vector<int64_t>{10}) : asked);
  }
}

// What the hook is handed at the end is what the checkpoint of that step calls the teacher, and not the student.
TEST_F(TrainTest, EvaluationIsHandedTheTeacher) {
  std::map<std::string, Bytes> handed;
  options_.make_eval_hook = [&](std::shared_ptr<const Dataset>, const Config&) -> EvalHook {
    return [&](const Network& network, int64_t) -> json {
      handed.clear();
      for (const NamedTensor& parameter : network.parameters()) {
        const at::Tensor values = parameter.tensor.detach().to(at::kFloat).contiguous();
        const auto* bytes = static_cast<const std::byte*>(values.data_ptr());
        handed[parameter.name] = Bytes(bytes, bytes + values.nbytes());
      }
      return {{"suite", "test"}};
    };
  };
  EXPECT_EQ(run(), ExitCode::kDone);
  const fs::path checkpoint = latest_checkpoint(options_.out).value();
  ASSERT_EQ(checkpoint_step(checkpoint), 6);
  EXPECT_EQ(handed, saved_state(checkpoint, "teacher"));
  EXPECT_NE(handed, saved_state(checkpoint, "student"));
}

TEST_F(TrainTest, TheTeachersWeightsAreStoredUnderTheirPublishedNames) {
  options_.config.eval->every = {};
  EXPECT_EQ(run(), ExitCode::kDone);
  const fs::path checkpoint = latest_checkpoint(options_.out).value();
  expect_the_teachers_files(checkpoint, 0);
  const SafetensorsFile teacher(checkpoint / "teacher.safetensors"), backbone(checkpoint / "backbone.safetensors");
  for (const char* name : {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "norm.bias"}) {
    EXPECT_EQ(backbone.at(name).bytes.size(), teacher.at(std::string("backbone.") + name).bytes.size());
    EXPECT_EQ(backbone.at(name).dtype, DType::kF32);
  }
  EXPECT_EQ(teacher.at("head.last_layer.weight_v").shape, (std::vector<int64_t>{16, 8}));
  EXPECT_EQ(backbone.at("pos_embed").shape, (std::vector<int64_t>{1, 5, 16}));
  Config config = default_config();  // what the file was trained with is in the file
  apply_settings(config, parse_settings(teacher.metadata().at("dinoxx.config"), "metadata"));
  EXPECT_EQ(config.model->dim, 16);
}

// Of one image there is no spread over images: null, and no alarm.
TEST_F(TrainTest, OneImageOnARankTrains) {
  options_.config.train->batch_size = 1;
  options_.config.optim->warmup = Duration{};
  options_.config.eval->every = {};
  EXPECT_EQ(run(), ExitCode::kDone);
  int steps = 0;
  for (const json& line : metrics()) {
    EXPECT_NE(line.value("event", ""), "collapse");
    if (!line.contains("loss")) continue;
    ++steps;
    EXPECT_TRUE(line["loss"].is_number());
    EXPECT_TRUE(line.at("effective_rank").is_null());
    EXPECT_TRUE(line.at("feature_deviation").is_null());
    EXPECT_TRUE(line.at("prototype_perplexity").is_null());
    EXPECT_TRUE(line.at("prototypes_used").is_number());
  }
  EXPECT_EQ(steps, 6);
}

// The mean gradient is the same on all ranks: where no loss is at fault, a parameter and the images of all of them are named.
TEST_F(TrainTest, AGradientThatIsNoNumberIsNamed) {
  options_.config.loss->koleo_weight = 1e38;  // finite in float32, what backward makes of it is not
  options_.config.train->max_skipped = 2;
  std::string told;
  try {
    run();
  } catch (const Error& error) {
    told = error.what();
  }
  EXPECT_THAT(told, testing::ContainsRegex("the gradient of (backbone|head)\\.[a-z0-9_.]+, although every term is finite, of rank 0"));
  std::vector<json> skipped;
  for (const json& line : metrics())
    if (line.value("event", "") == "skipped") skipped.push_back(line);
  ASSERT_EQ(skipped.size(), 2u);
  EXPECT_THAT(skipped[0]["where"].get<std::string>(), testing::ContainsRegex("rank 0 \\(image ids [0-9]+( [0-9]+){7}\\)"));
  EXPECT_NE(skipped[0]["where"], skipped[1]["where"]) << "other images";
}

// Running statistics are part of the state: a run that was stopped goes on with them, and the teacher's file carries them.
// Start-up counts, too: a limit that the process has used up before training begins leaves one step, however short the run would be.
TEST_F(TrainTest, TheTimeLimitCountsFromTheStartOfTheProcess) {
  options_.max_seconds = process_seconds();
  EXPECT_EQ(run(), ExitCode::kStopped);
  EXPECT_EQ(latest_checkpoint(options_.out).value().filename(), "step_00000001");
  options_.max_seconds = 0;
  EXPECT_EQ(run(), ExitCode::kDone);
}

TEST_F(TrainTest, AResNetsStatisticsSurviveAStop) {
  options_.config = default_config();
  apply_settings(options_.config,
                 parse_settings("[model]\narch = resnet18\n[head]\nout_dim = 16\nhidden_dim = 16\nbottleneck_dim = 8\n"
                                "[views]\nglobal_size = 16\nlocal_size = 8\nlocal_count = 1\n[train]\nbatch_size = 8\nlength = 2it\n"
                                "[checkpoint]\nevery = 0\n[eval]\nevery = 0\n",
                                "test"));
  const auto weights = [&] { return SafetensorsFile(latest_checkpoint(options_.out).value() / "teacher.safetensors"); };
  EXPECT_EQ(run(), ExitCode::kDone);
  const SafetensorsFile whole = weights();
  options_.out = work_ / "stopped";
  int asked = 0;
  options_.stop_signal = [&]() -> const char* { return ++asked >= 1 ? "SIGTEST" : nullptr; };
  EXPECT_EQ(run(), ExitCode::kStopped);
  options_.stop_signal = [] { return static_cast<const char*>(nullptr); };
  EXPECT_EQ(run(), ExitCode::kDone);
  const SafetensorsFile resumed = weights();
  expect_the_teachers_files(latest_checkpoint(options_.out).value(), 3 * 20);  // mean, variance and count of 20 batch norms
  ASSERT_TRUE(whole.tensors().contains("backbone.layer4.1.bn2.running_var"));
  for (const auto& [name, view] : whole.tensors()) EXPECT_TRUE(std::ranges::equal(view.bytes, resumed.at(name).bytes)) << name;
}

// The records as their format says, read here by other code than wrote them; TensorBoard 2.21 reads them too (tried by hand).
TEST_F(TrainTest, TensorBoardGetsWhatMetricsGet) {
  options_.config.eval->every = {};
  EXPECT_EQ(run(), ExitCode::kDone);
  std::string bytes;
  for (const auto& entry : fs::directory_iterator(options_.out))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) bytes = read_text(entry.path());
  std::vector<std::string> events;
  const auto crc_at = [&](size_t at, size_t begin, size_t size) {
    uint32_t stored = 0;
    std::memcpy(&stored, bytes.data() + at, 4);
    const uint32_t crc = crc32c(bytes.data() + begin, size);
    EXPECT_EQ(stored, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  };
  for (size_t at = 0; at + 16 <= bytes.size();) {
    uint64_t size = 0;
    std::memcpy(&size, bytes.data() + at, 8);
    crc_at(at + 8, at, 8);
    events.push_back(bytes.substr(at + 12, size));
    crc_at(at + 12 + size, at + 12, size);
    at += 16 + size;
  }
  ASSERT_EQ(events.size(), 2u + 6u) << "a header, a session start and six steps";
  EXPECT_THAT(events[0], HasSubstr("brain.Event:2"));
  EXPECT_EQ(events[1].substr(9), std::string("\x10\x01\x3a\x02\x08\x01")) << "step 1, session_log with status START";
  std::vector<json> lines = metrics();
  std::erase_if(lines, [](const json& line) { return !line.contains("loss"); });
  ASSERT_EQ(lines.size(), 6u);
  const auto value = [&](const std::string& event, const std::string& tag) {  // tag, then field 2 as a 32-bit float
    const size_t found = event.find(tag), at = found + tag.size();
    if (found == std::string::npos || event.size() < at + 5) throw Error("no value of " + tag);
    EXPECT_EQ(event[at], '\x15');
    float v = 0;
    std::memcpy(&v, event.data() + at + 1, 4);
    return v;
  };
  for (size_t i = 1; i + 1 < events.size(); ++i) {
    EXPECT_EQ(value(events[i + 1], "train/loss"), static_cast<float>(lines[i - 1]["loss"].get<double>()));
    EXPECT_EQ(value(events[i + 1], "train/lr"), static_cast<float>(lines[i - 1]["lr"].get<double>()));
    EXPECT_EQ(static_cast<int>(events[i + 1].at(10)), lines[i - 1]["step"].get<int>()) << "behind nine bytes of time and a key";
  }
}

TEST_F(TrainTest, KeysOfAnotherKindOfNetworkAreRefused) {
  const auto refusal = [&](const std::string& settings) -> std::string {
    TrainOptions options = options_;
    options.config = default_config();
    apply_settings(options.config, parse_settings(settings + "[train]\nbatch_size = 8\nlength = 2it\n", "test"));
    try {
      train(options, {make_self_communicator(), make_self_communicator(), make_self_communicator()});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
      return error.what();
    }
    return "nothing";
  };
  EXPECT_THAT(refusal("[model]\narch = resnet50\nheads = 4\n"), HasSubstr("model.heads"));
  EXPECT_THAT(refusal("[model]\narch = resnet50\ndim = 40\n"), HasSubstr("model.dim: expected a multiple of 32 for resnet50, found 40"));
  EXPECT_THAT(refusal("[model]\narch = resnet18\ndepth = 6\n"), HasSubstr("model.depth: expected a multiple of 4"));
  EXPECT_THAT(refusal("[model]\narch = resnet50\nstem = conv\n"), HasSubstr("small or large"));
  EXPECT_THAT(refusal("[model]\narch = convnext_tiny\n[views]\nlocal_size = 16\n"), HasSubstr("at least 32 pixels"));
  EXPECT_THAT(refusal("[model]\narch = vit_tiny\nstem = small\n"), HasSubstr("patch or conv"));
  EXPECT_FALSE(fs::exists(options_.out));
}

}  // namespace
}  // namespace dinoxx
