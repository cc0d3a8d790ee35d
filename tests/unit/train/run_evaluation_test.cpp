// What training says of its teacher is what the commands say of the checkpoint: the same network, the same images, the same normalisation.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>

#include "apps/eval_hook.hpp"
#include "base/files.hpp"
#include "base/stop_scope.hpp"
#include "checkpoint/checkpoint.hpp"
#include "data_pipeline/augment/view_profiles.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/features/embed.hpp"
#include "eval/run/eval_config.hpp"
#include "eval/run/evaluate.hpp"
#include "eval/run/train_probe.hpp"
#include "formats/safetensors.hpp"
#include "history/checkpoint_folders.hpp"
#include "history/run_history.hpp"
#include "method/settings/resolve.hpp"
#include "step/train_state.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"
#include "train/train.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing_support::TemporaryFolder;

constexpr int kSteps = 10;

Config run_config(const std::string& profile) {
  Config config = default_config();
  apply_settings(
      config,
      parse_settings("[model]\ndim = 32\ndepth = 2\nheads = 2\npatch_size = 8\n"
                     "[head]\nout_dim = 32\nhidden_dim = 32\nbottleneck_dim = 16\n"
                     "[views]\nglobal_size = 32\nlocal_count = 0\nprofile = " +
                         profile + "\n[optim]\nlr = 0.02\nwarmup = 0\n[train]\nbatch_size = 16\nseed = 3\nlog_every = 1\nlength = " +
                         std::to_string(kSteps) + "it\n[checkpoint]\nevery = 0\n[eval]\nevery = 5it\nsuite = knn,zero\n",
                     "test"));
  return config;
}

// A data set and a run of each profile that was asked for.
class Runs {
 public:
  static Runs& get() {
    static Runs runs;
    return runs;
  }
  fs::path data() const { return folder_ / "data"; }
  fs::path folder() const { return folder_.path(); }
  fs::path run(const std::string& profile) { return run(run_config(profile), profile); }
  fs::path run(const Config& config, const std::string& name) {
    const fs::path path = folder_ / name;
    if (fs::exists(path)) return path;
    TrainOptions options;
    options.config = config;
    options.data = data();
    options.out = path;
    options.make_eval_hook = eval_hook(make_self_communicator());
    EXPECT_EQ(train(options, {make_self_communicator(), make_self_communicator(), make_self_communicator()}), ExitCode::kDone);
    return path;
  }
  fs::path checkpoint(const std::string& profile) { return *latest_checkpoint(run(profile)); }
  fs::path teacher(const std::string& profile) { return checkpoint(profile) / "teacher.safetensors"; }

 private:
  Runs() {
    PackOptions options;
    options.source = PackOptions::Source::kToy;
    options.toy.count = 240;
    options.out = data();
    pack(options);
  }
  const TemporaryFolder folder_;
};

// The same figures under the same names, of training's record and of results.json.
json figures_of_training(const fs::path& run) {
  std::ifstream file(run / "metrics.jsonl");
  json last;
  for (std::string line; std::getline(file, line);) {
    const json parsed = json::parse(line);
    if (parsed.contains("eval")) last = parsed;
  }
  EXPECT_EQ(last["step"], kSteps);
  const json& eval = last["eval"];
  EXPECT_FALSE(eval.contains("error")) << eval;
  EXPECT_EQ(eval["queries"], "val");
  return {{"k", eval["k"]},
          {"accuracy", eval["accuracy"]},
          {"balanced_accuracy", eval["balanced_accuracy"]},
          {"by_k", eval["by_k"]},
          {"zero", eval["steps"]["zero"]}};
}

json figures_of_results(const json& results) {
  const json &knn = results["suites"]["knn"]["results"][0], &zero = results["suites"]["zero"]["results"][0];
  json figures = {{"zero",
                   {{"cluster_accuracy", zero["clustering"]["accuracy"]},
                    {"nmi", zero["clustering"]["nmi"]},
                    {"ari", zero["clustering"]["ari"]},
                    {"map", zero["retrieval"]["map"]}}}};
  for (const char* name : {"k", "accuracy", "balanced_accuracy"}) figures[name] = knn["headline"][name];
  for (const auto& [k, entry] : knn["by_k"].items()) figures["by_k"][k] = entry["accuracy"];
  return figures;
}

// "dinoxx eval --split val" of a run folder or of a file.
json evaluated(const fs::path& model, const fs::path& cache = {}, const std::vector<std::string>& baselines = {}) {
  const Config config = run_config("dino-v1");
  const TemporaryFolder out;
  eval::EvaluateOptions options;
  options.model.checkpoint = model;
  options.data = Runs::get().data();
  options.out = out / "out";
  options.protocols = {"knn", "clustering"};
  options.baselines = baselines;
  options.split = Split::kVal;
  options.knn.ks.assign(config.eval->knn_k.begin(), config.eval->knn_k.end());
  options.seed = static_cast<uint64_t>(config.train->seed);
  options.cache = cache;
  return eval::evaluate(options, *make_self_communicator());
}

// A copy of a weight file with other metadata; an empty text takes an entry away.
fs::path with_metadata(const fs::path& file, const fs::path& copy, const std::map<std::string, std::string>& changes) {
  const SafetensorsFile original(file);
  std::map<std::string, std::string> metadata = original.metadata();
  for (const auto& [key, text] : changes) {
    metadata[key] = text;
    if (text.empty()) metadata.erase(key);
  }
  write_safetensors(copy, original.tensors(), metadata);
  return copy;
}

// The student of a checkpoint as a teacher's file, from the rank files.
fs::path student_as_teacher(const fs::path& checkpoint, const fs::path& copy) {
  const SafetensorsFile teacher(checkpoint / "teacher.safetensors"), ranks(checkpoint / "rank_00000_of_00001.safetensors");
  std::map<std::string, TensorView> tensors = teacher.tensors();
  for (auto& [name, view] : tensors) view.bytes = ranks.at(fmt::format("student/{}[0:{}]", name, view.bytes.size() / sizeof(float))).bytes;
  write_safetensors(copy, tensors, teacher.metadata());
  return copy;
}

Normalization another_than(const Normalization& normalization) {
  const Normalization cifar = profile_normalization("solo-cifar-asymmetric");
  return normalization == cifar ? imagenet_normalization() : cifar;
}

std::vector<float> rows_of_npy(const fs::path& path) {
  const std::string bytes = read_text(path);
  const size_t begin = 10 + static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  std::vector<float> rows((bytes.size() - begin) / sizeof(float));
  std::memcpy(rows.data(), bytes.data() + begin, rows.size() * sizeof(float));
  return rows;
}

class RunEvaluation : public testing::TestWithParam<std::string> {};

TEST_P(RunEvaluation, TrainingsFigureIsThatOfEvalOnTheCheckpoint) {
  Runs& runs = Runs::get();
  const std::string profile = GetParam();
  const json in_training = figures_of_training(runs.run(profile)), after = evaluated(runs.run(profile));
  EXPECT_EQ(figures_of_results(after), in_training);
  const Normalization expected = profile_normalization(profile);
  for (const char* suite : {"knn", "zero"}) {
    EXPECT_EQ(after["suites"][suite]["protocol"]["mean"], json(expected.mean));
    EXPECT_EQ(after["suites"][suite]["protocol"]["std"], json(expected.std));
  }
  EXPECT_EQ(after["checkpoint"]["input"]["mean"], json(decimals(expected.mean)));
  // these figures notice another normalisation, and the student in the teacher's place
  const TemporaryFolder folder;
  const fs::path other =
      with_metadata(runs.teacher(profile), folder / "other.safetensors", {{kNormalizationKey, to_text(another_than(expected))}});
  EXPECT_NE(figures_of_results(evaluated(other)), in_training);
  EXPECT_NE(figures_of_results(evaluated(student_as_teacher(runs.checkpoint(profile), folder / "student.safetensors"))), in_training);
}

TEST(RunEvaluationOf, ImagesThatAreLargerThanTheCrops) {
  Runs& runs = Runs::get();
  Config config = run_config("dino-v1");
  config.eval->image_size = 2 * config.views->global_size;
  const fs::path run = runs.run(config, "larger");
  const json in_training = figures_of_training(run);
  EXPECT_EQ(figures_of_results(evaluated(run)), in_training);
  EXPECT_NE(in_training, figures_of_training(runs.run("dino-v1")));
}

TEST_P(RunEvaluation, EmbedsFeaturesAreThoseOfEval) {
  Runs& runs = Runs::get();
  const std::string profile = GetParam();
  const TemporaryFolder folder;
  const auto embedded = [&](const fs::path& model) {
    eval::EmbedOptions options;
    options.model.checkpoint = model;
    options.data = runs.data();
    options.out = folder / "features.npy";
    eval::embed(options, *make_self_communicator());
    return rows_of_npy(options.out);
  };
  const std::vector<float> rows = embedded(runs.run(profile));
  const std::vector<float> others = embedded(with_metadata(runs.teacher(profile), folder / "other.safetensors",
                                                           {{kNormalizationKey, to_text(another_than(profile_normalization(profile)))}}));
  evaluated(runs.run(profile), folder / "cache");
  constexpr int64_t kDim = 32;
  int64_t compared = 0;
  double off = 0, other_off = 0;
  for (const auto& entry : fs::directory_iterator(folder / "cache")) {
    const SafetensorsFile file(entry.path());
    const TensorView &ids = file.at("ids"), &features = file.at("features");
    if (features.shape[1] != kDim) continue;  // the perceptual hashes of the same images
    for (int64_t i = 0; i < ids.shape[0]; ++i, ++compared) {
      const int64_t id = reinterpret_cast<const int64_t*>(ids.bytes.data())[i];
      const float* feature = reinterpret_cast<const float*>(features.bytes.data()) + i * kDim;
      for (int64_t d = 0; d < kDim; ++d) {
        off = std::max(off, static_cast<double>(std::abs(feature[d] - rows.at(static_cast<size_t>(id * kDim + d)))));
        other_off = std::max(other_off, static_cast<double>(std::abs(feature[d] - others.at(static_cast<size_t>(id * kDim + d)))));
      }
    }
  }
  EXPECT_EQ(compared, 192 + 24);  // memory and queries
  EXPECT_LT(off, 1e-5);           // an image's neighbours in its block are others
  EXPECT_GT(other_off, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Profiles, RunEvaluation, testing::ValuesIn(view_profiles()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// A stop that comes while the teacher is evaluated is not kept waiting: the run saves and ends, and the next start evaluates that step.
TEST(StopDuringEvaluation, LeavesTheEvaluationToTheNextStart) {
  TrainOptions options;
  options.config = run_config("dino-v1");
  options.data = Runs::get().data();
  options.out = Runs::get().folder() / "stopped";
  bool asked = false;
  options.stop_signal = [&]() -> const char* { return asked ? "SIGTERM" : nullptr; };
  options.make_eval_hook = [&](const std::shared_ptr<const Dataset>& dataset, const Config& config) -> EvalHook {
    return [&asked, hook = eval_hook(make_self_communicator())(dataset, config)](const Network& teacher, int64_t step) {
      asked = true;
      return hook(teacher, step);
    };
  };
  const auto run = [&] { return train(options, {make_self_communicator(), make_self_communicator(), make_self_communicator()}); };
  EXPECT_EQ(run(), ExitCode::kStopped);
  const RunHistory history(options.out);
  ASSERT_EQ(history.checkpoints().size(), 1u);
  EXPECT_EQ(history.checkpoints().front().step, 5) << "no step more than the one that is evaluated";
  EXPECT_TRUE(history.journal().evals.empty());
  asked = false;
  options.make_eval_hook = eval_hook(make_self_communicator());
  EXPECT_EQ(run(), ExitCode::kDone);
  std::vector<int64_t> steps;
  for (const json& record : history.journal().evals) {
    EXPECT_FALSE(record["eval"].contains("error")) << record;
    steps.push_back(record["step"]);
  }
  EXPECT_THAT(steps, testing::ElementsAre(5, 10));
}

// One rank alone is asked to stop: no other is left waiting for it, whatever was going on.
TEST(StopDuringEvaluation, OnOneRankEndsItOnAll) {
  const Config config = resolve_config(run_config("dino-v1"), 192, 1);
  const MethodSpec spec = make_method(config);
  const TrainState state(config, spec, at::kFloat);
  const std::shared_ptr<const Dataset> dataset = Dataset::open(Runs::get().data());
  for (const int after : {0, 1, 5, 20, 60}) {
    std::vector<json> results(2);
    testing_support::run_thread_ranks(2, [&](const std::shared_ptr<Communicator>& comm) {
      eval::ProbeConfig probe_config{spec.views.normalization.value()};
      probe_config.protocols = eval::probe_names();
      probe_config.image_size = 32;
      const eval::TrainProbe probe(dataset, comm, probe_config);
      std::atomic<int> asked = 0;
      const StopScope scope([&] { return comm->rank() == 1 && asked++ >= after; });
      results[static_cast<size_t>(comm->rank())] = probe(state.teacher.backbone(), 5);
    });
    for (const json& result : results) EXPECT_THAT(result.value("error", "none"), HasSubstr("a stop was requested")) << after;
  }
}

// "untrained" is the network as it was before the first step: what a run without a learning rate keeps.
TEST(Baselines, UntrainedIsTheNetworkBeforeTheFirstStep) {
  Runs& runs = Runs::get();
  Config still = run_config("byol");
  apply_settings(still, parse_settings("[optim]\nlr = 0\nmin_lr = 0\n[eval]\nevery = 0\n", "test"));
  const json initial = evaluated(runs.run(still, "still")), trained = evaluated(runs.run("byol"), {}, {"untrained"});
  for (const char* suite : {"knn", "zero"}) {
    const json &before = initial["suites"][suite]["results"], &after = trained["suites"][suite]["results"];
    ASSERT_EQ(before.size(), 1u);
    ASSERT_EQ(after.size(), 2u);
    EXPECT_EQ(after[1]["name"], "untrained");
    const char* figures = std::string(suite) == "knn" ? "by_k" : "retrieval";
    EXPECT_EQ(after[1][figures], before[0][figures]) << suite;
    EXPECT_NE(after[0][figures], before[0][figures]) << suite << ": these figures do not notice the training";
  }
}

// Metadata of the run, its configuration alone (files of before there was such metadata), no configuration, the backbone without the head.
TEST(NormalizationOfAFile, AFileAloneGivesTheFiguresOfItsRun) {
  Runs& runs = Runs::get();
  const std::string profile = "solo-cifar-asymmetric";
  const fs::path teacher = runs.teacher(profile), backbone = runs.checkpoint(profile) / "backbone.safetensors";
  const json expected = figures_of_training(runs.run(profile));
  for (const fs::path& file : {teacher, backbone})
    EXPECT_EQ(SafetensorsFile(file).metadata().at(kNormalizationKey), to_text(profile_normalization(profile))) << file;
  const TemporaryFolder folder;
  const std::string kConfig = "dinoxx.config";
  const std::pair<fs::path, std::map<std::string, std::string>> files[] = {
      {teacher, {}}, {teacher, {{kNormalizationKey, ""}}}, {backbone, {}}, {backbone, {{kConfig, ""}}}};
  for (const auto& [file, changes] : files) {
    SCOPED_TRACE(file.filename().string() + (changes.empty() ? "" : " without " + changes.begin()->first));
    EXPECT_EQ(figures_of_results(evaluated(with_metadata(file, folder / "alone.safetensors", changes))), expected);
  }
  // a file that says nothing: ImageNet's, and the results say that this was assumed
  const json unknown = evaluated(with_metadata(backbone, folder / "alone.safetensors", {{kConfig, ""}, {kNormalizationKey, ""}}));
  EXPECT_NE(figures_of_results(unknown), expected);
  EXPECT_EQ(unknown["suites"]["knn"]["protocol"]["mean"], json(imagenet_normalization().mean));
  EXPECT_THAT(unknown["checkpoint"]["input"]["source"].get<std::string>(), HasSubstr("assumed"));
  EXPECT_THAT(unknown["checkpoint"]["notes"].dump(), HasSubstr("assumed"));
  EXPECT_THAT(
      [&] {
        evaluated(with_metadata(teacher, folder / "alone.safetensors", {{kNormalizationKey, "{\"mean\": 1}"}}));
      },
      testing::ThrowsMessage<Error>(HasSubstr("dinoxx.normalization in ")));
}

// --- a run that began with other weights ------------------------------------------------------------------------------------------------

// Evaluations with these accuracies in turn; which steps were evaluated.
struct Scripted {
  std::map<int64_t, double> accuracy;
  std::vector<int64_t> steps;
  EvalHookFactory factory() {
    return [this](std::shared_ptr<const Dataset>, const Config&) -> EvalHook {
      return [this](const Network&, int64_t step) {
        steps.push_back(step);
        return json{{"accuracy", accuracy.at(step)}, {"k", 20}};
      };
    };
  }
};

std::vector<json> events_of(const fs::path& run, const std::string& name) {
  std::ifstream file(run / "metrics.jsonl");
  std::vector<json> found;
  for (std::string line; std::getline(file, line);)
    if (const json record = json::parse(line); record.value("event", "") == name) found.push_back(record);
  return found;
}

TEST(OtherWeights, AreEvaluatedFirstAndAFallBelowThemRaisesAnAlarm) {
  const fs::path run = Runs::get().folder() / "other_weights";
  TrainOptions options;
  options.config = run_config("dino-v1");
  apply_settings(options.config, parse_settings(fmt::format("[model]\ninit_from = {}\n[init]\nalarm = 0.1\n[checkpoint]\nevery = 5it\n",
                                                            Runs::get().run("dino-v1").string()),
                                                "test"));
  options.data = Runs::get().data();
  options.out = run;
  Scripted script{{{0, 0.75}, {5, 0.66}, {10, 0.64}, {15, 0.66}, {20, 0.6}}, {}};
  options.make_eval_hook = script.factory();
  const auto start = [&] { return train(options, {make_self_communicator(), make_self_communicator(), make_self_communicator()}); };
  EXPECT_EQ(start(), ExitCode::kDone);
  EXPECT_EQ(script.steps, (std::vector<int64_t>{0, 5, 10}));
  std::vector<json> alarms = events_of(run, "forgetting");
  ASSERT_EQ(alarms.size(), 1u) << "0.66 is within 0.1 of 0.75";
  EXPECT_EQ(alarms[0]["step"], 10);
  EXPECT_EQ(alarms[0]["accuracy"], 0.64);
  EXPECT_EQ(alarms[0]["at_start"], 0.75);
  // a resume knows the accuracy of the start from the journal, and ends where it is told to
  options.config.train->length = Duration::parse("20it");
  options.config.train->stop_on_collapse = true;
  script.steps.clear();
  EXPECT_THAT(start, testing::ThrowsMessage<AgreedError>(
                         testing::AllOf(HasSubstr("training at step 20"), HasSubstr("init.alarm = 0.1"), HasSubstr("init.heads_only"))));
  EXPECT_EQ(script.steps, (std::vector<int64_t>{15, 20})) << "not of step 0 again";
  alarms = events_of(run, "forgetting");
  ASSERT_EQ(alarms.size(), 2u);
  EXPECT_EQ(alarms[1]["at_start"], 0.75);
}

TEST(OtherWeights, WithoutAnAlarmOrWithoutThemThereIsNone) {
  for (const char* extra : {"[init]\nalarm = 0\n", ""}) {
    const bool from_others = *extra != 0;
    TrainOptions options;
    options.config = run_config("dino-v1");
    if (from_others)
      apply_settings(options.config,
                     parse_settings(fmt::format("[model]\ninit_from = {}\n{}", Runs::get().run("dino-v1").string(), extra), "test"));
    options.config.train->stop_on_collapse = true;
    options.data = Runs::get().data();
    options.out = Runs::get().folder() / (from_others ? "no_alarm" : "no_weights");
    Scripted script{{{0, 0.9}, {5, 0.2}, {10, 0.1}}, {}};
    options.make_eval_hook = script.factory();
    EXPECT_EQ(train(options, {make_self_communicator(), make_self_communicator(), make_self_communicator()}), ExitCode::kDone);
    EXPECT_EQ(script.steps.front(), from_others ? 0 : 5);
    EXPECT_TRUE(events_of(options.out, "forgetting").empty());
  }
}

}  // namespace
}  // namespace dinoxx
