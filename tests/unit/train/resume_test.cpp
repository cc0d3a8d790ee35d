// A run knows its own history: what a start finds, what it refuses and what it says. The same with ranks and signals:
// tests/integration/train; folders alone: tests/unit/history.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>

#include "base/files.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "history/checkpoint_folders.hpp"
#include "history/run_history.hpp"
#include "support/temporary_folder.hpp"
#include "train/train.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ResumeTest : public testing::Test {
 protected:
  ResumeTest() {
    PackOptions pack_options;
    pack_options.source = PackOptions::Source::kToy;
    pack_options.toy.count = 80;
    pack_options.out = work_ / "data";
    pack(pack_options);
    images_ = static_cast<int64_t>(Dataset::open(work_ / "data")->ids(Split::kTrain).size());
  }

  static constexpr const char* kSmall =
      "[model]\ndim = 16\ndepth = 1\npatch_size = 8\nheads = 2\n[head]\nout_dim = 16\nhidden_dim = 16\nbottleneck_dim = 8\n"
      "[views]\nglobal_size = 16\nlocal_count = 0\n[train]\nbatch_size = 8\nlog_every = 1\nlength = 8it\n"
      "[checkpoint]\nevery = 2it\nkeep = 9\n[eval]\nevery = 0\n";

  // A start with these settings over the small ones. `stop`: asks for a stop behind this many more steps.
  ExitCode start(const std::string& settings = "", const std::string& resume = "auto", int stop = 0) {
    TrainOptions options;
    options.config = default_config();
    apply_settings(options.config, parse_settings(kSmall, "small"));
    apply_settings(options.config, parse_settings(settings, "test"));
    options.data = data_;
    options.out = history_.folder();
    options.command_line = command_;
    options.resume = resume;
    int asked = 0;
    if (stop > 0) options.stop_signal = [&asked, stop]() -> const char* { return ++asked >= stop ? "SIGTEST" : nullptr; };
    return train(options, {make_self_communicator(), make_self_communicator(), make_self_communicator()});
  }
  // The text and exit code of a start that throws.
  std::pair<std::string, ExitCode> refusal(const std::string& settings, const std::string& resume = "auto") {
    try {
      start(settings, resume);
    } catch (const Error& error) {
      return {error.what(), error.exit_code()};
    }
    return {"accepted", ExitCode::kDone};
  }
  std::vector<int64_t> steps(const fs::path& run) const {
    std::vector<int64_t> found;
    for (const SavedCheckpoint& saved : RunHistory(run).checkpoints()) found.push_back(saved.step);
    return found;
  }
  std::vector<int64_t> steps() const { return steps(history_.folder()); }
  std::string path_of(int64_t step) const { return history_.checkpoint_folder(step).string(); }
  json manifest(int64_t step) const { return read_manifest(history_.checkpoint_folder(step)); }
  json last_start() const {
    const RunJournal journal = history_.journal();
    return journal.starts.empty() ? json::object() : journal.starts.back();
  }
  std::string lost() const { return last_start().value("lost_claims", json::array()).dump(); }
  static void damage(const fs::path& checkpoint) {
    std::fstream file(checkpoint / "rank_00000_of_00001.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('x');
  }

  testing_support::TemporaryFolder work_;
  RunHistory history_{work_ / "run"};
  fs::path data_ = work_ / "data";
  std::string command_;
  int64_t images_ = 0;
};

TEST_F(ResumeTest, GoingBackLeavesABranchAndWhatIsSavedThereStays) {
  EXPECT_EQ(start(), ExitCode::kDone);
  EXPECT_THAT(steps(), ElementsAre(2, 4, 6, 8));
  testing::internal::CaptureStdout();
  EXPECT_EQ(start("[checkpoint]\nkeep = 1\n", path_of(4), /*stop=*/1), ExitCode::kStopped);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), AllOf(HasSubstr("branches/branch_0"), HasSubstr("6, 8")));
  EXPECT_THAT(steps(), ElementsAre(5)) << "what was just saved";
  EXPECT_THAT(steps(history_.folder() / "branches" / "branch_0"), ElementsAre(6, 8)) << "with their files, as they were";
  EXPECT_EQ(manifest(5)["branch"], 1);
  EXPECT_EQ(history_.journal().last_step(), 5);
  EXPECT_TRUE(last_start().contains("set_aside"));
  EXPECT_EQ(start(), ExitCode::kDone);
  EXPECT_EQ(last_start()["step"], 5) << "not step 8 of the branch that was left";
  EXPECT_EQ(manifest(8)["branch"], 1);
  EXPECT_EQ(start("", (history_.folder() / "branches/branch_0/checkpoints/step_00000006").string()), ExitCode::kDone)
      << "and back to what was left";
  EXPECT_EQ(manifest(8)["branch"], 2);
  EXPECT_THAT(history_.journal().steps, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
}

TEST_F(ResumeTest, AnotherRunsEndIsACheckpointHereToo) {
  start();
  fs::rename(history_.folder(), work_ / "first");
  EXPECT_EQ(start("", (work_ / "first/checkpoints/step_00000008").string()), ExitCode::kDone);
  EXPECT_THAT(steps(), ElementsAre(8)) << "complete, and nothing but another run's folder holds it";
}

// A job that was put back into its queue must not begin at the named checkpoint each time.
TEST_F(ResumeTest, TheSameCommandGoesOnFromWhereItHasComeTo) {
  start();
  command_ = "train --resume 4";
  EXPECT_EQ(start("", path_of(4), /*stop=*/1), ExitCode::kStopped);
  testing::internal::CaptureStdout();
  EXPECT_EQ(start("", path_of(4), /*stop=*/1), ExitCode::kStopped);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("this command went on from " + path_of(4) + " before"));
  EXPECT_EQ(last_start()["step"], 5);
  fs::remove_all(path_of(4));  // as a save of checkpoint.keep removes it
  start("", path_of(4), /*stop=*/1);
  EXPECT_EQ(last_start()["step"], 6);
  command_ = "another";
  start("", path_of(5), /*stop=*/1);
  EXPECT_EQ(last_start()["step"], 5) << "another command goes back";
}

TEST_F(ResumeTest, ALinkToACheckpointIsThatCheckpoint) {
  start();
  fs::create_directory_symlink(path_of(4), work_ / "best");
  EXPECT_EQ(start("", (work_ / "best").string(), /*stop=*/1), ExitCode::kStopped);
  EXPECT_THAT(steps(), ElementsAre(2, 4, 5));
  EXPECT_THAT(history_.journal().steps, ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(ResumeTest, AnotherDataSetMakesNoUnfinishedRunComplete) {
  PackOptions more;
  more.source = PackOptions::Source::kToy;
  more.toy.count = 160;
  more.out = work_ / "more";
  pack(more);
  data_ = work_ / "more";
  EXPECT_EQ(start("[train]\nlength = 3ep\n", "auto", /*stop=*/40), ExitCode::kStopped);
  data_ = work_ / "data";  // half of the images
  const auto [text, code] = refusal("[train]\nlength = 3ep\n");
  EXPECT_EQ(code, ExitCode::kUsage) << text;
  EXPECT_THAT(text, AllOf(HasSubstr("train.length"), HasSubstr("of the former data set")));
  EXPECT_EQ(start("[train]\nlength = 8ep\n"), ExitCode::kDone);
}

TEST_F(ResumeTest, WhatIsMissingIsSaid) {
  start();
  fs::remove_all(history_.checkpoint_folder(8));
  testing::internal::CaptureStdout();
  EXPECT_EQ(start(), ExitCode::kDone);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("tells of a checkpoint of step 8, which is not there"));
  fs::remove(history_.metrics_file());
  testing::internal::CaptureStdout();
  EXPECT_EQ(start(), ExitCode::kDone);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("what the run did up to step 8 is not in its record"));
}

// Saves go to checkpoints/, which need not be on the file system of the run's folder.
TEST_F(ResumeTest, ThePlaceOfCheckpointsIsTriedBeforeTheWork) {
  fs::create_directories(history_.folder());
  std::ofstream(history_.checkpoints_folder()) << "a file";
  EXPECT_THAT(refusal("").first, AllOf(HasSubstr("checkpoints"), HasSubstr("found a file")));
  fs::remove(history_.checkpoints_folder());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{8192, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto [text, code] = refusal("");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(text, HasSubstr("ulimit -f")) << static_cast<int>(code);
}

TEST_F(ResumeTest, TheManifestRecordsProgressValuesBranchAndWorld) {
  start();
  const json saved = manifest(6);
  EXPECT_EQ(saved["progress"]["samples"], 48);
  EXPECT_EQ(saved["progress"]["of_samples"], 64);
  EXPECT_DOUBLE_EQ(saved["progress"]["epochs"].get<double>(), 48.0 / static_cast<double>(images_));
  EXPECT_EQ(saved["branch"], 0);
  EXPECT_EQ(saved["world_size"], 1);
  EXPECT_EQ(saved["resolved"]["optim.name"], "adamw");
  EXPECT_FALSE(saved["resolved"].contains("model.heads")) << "was given";
}

TEST_F(ResumeTest, ACheckpointOfAnEarlierReleaseGoesOn) {
  start("", "auto", /*stop=*/3);
  const fs::path file = history_.checkpoint_folder(3) / "manifest.json";
  json old = json::parse(read_text(file));
  for (const char* key : {"progress", "branch", "resolved", "stays"}) old.erase(key);
  std::ofstream(file) << old.dump();
  testing::internal::CaptureStdout();
  EXPECT_EQ(start(), ExitCode::kDone);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("note: the checkpoint is of an earlier release"));
  EXPECT_EQ(lost(), "[]");
}

// What is open keeps its value when what it came from has changed.
TEST_F(ResumeTest, ChosenValuesAreNotChosenAnew) {
  start("[train]\nlength = 40it\n", "auto", /*stop=*/3);
  EXPECT_EQ(manifest(3)["resolved"]["optim.warmup"], "4it");
  EXPECT_EQ(start("[train]\nlength = 50it\n", "auto", /*stop=*/1), ExitCode::kStopped);
  EXPECT_EQ(manifest(4)["resolved"]["optim.warmup"], "4it");
  EXPECT_THAT(read_text(history_.config_file()), HasSubstr("warmup = 4it"));
  EXPECT_THAT(lost(), AllOf(HasSubstr("train.length was 40it and is 50it"), Not(HasSubstr("optim.warmup"))));
  // also where the value comes from the run's own config.cfg
  const std::string own = read_text(history_.config_file());
  EXPECT_EQ(start(own, "auto", /*stop=*/1), ExitCode::kStopped);
  EXPECT_EQ(manifest(5)["resolved"]["optim.warmup"], "4it");
  // and one that fits no more is replaced by name
  testing::internal::CaptureStdout();
  start("[train]\nlength = 20it\n[optim]\ndecay = 17it\n", "auto", /*stop=*/1);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("optim.warmup"));
}

TEST_F(ResumeTest, AnotherBatchKeepsEpochs) {
  const std::string run = "[checkpoint]\nevery = 0\n[optim]\nwarmup = 1ep\n[train]\nlength = 4ep\n";
  EXPECT_EQ(start(run, "auto", /*stop=*/15), ExitCode::kStopped);
  EXPECT_EQ(manifest(15)["position"], 120);
  EXPECT_EQ(start(run + "batch_size = 4\n"), ExitCode::kDone);
  const int64_t last = 15 + (4 * images_ / 4 - 120 / 4);
  ASSERT_THAT(steps(), testing::Contains(last));
  EXPECT_EQ(manifest(last)["position"], 4 * images_ / 4 * 4);
  EXPECT_NEAR(manifest(last)["progress"]["epochs"].get<double>(), 4, 0.1);
  EXPECT_THAT(lost(), HasSubstr("train.batch_size was 8 and is 4"));
  EXPECT_EQ(start(run + "batch_size = 4\n"), ExitCode::kDone) << "nothing is left to do";
  EXPECT_EQ(history_.journal().steps.back(), last);
}

// Half of the run with one batch, half with another: the rate goes on where it was, and ends where it was to end.
TEST_F(ResumeTest, AnotherBatchKeepsSchedulesAndChosenLengths) {
  const std::string run = "[checkpoint]\nevery = 0\n[optim]\nlr_rule = none\n[train]\nlength = 640samples\n";
  start(run, "auto", /*stop=*/40);
  const double before = history_.journal().columns.at("lr").back();
  EXPECT_EQ(start(run + "batch_size = 16\n"), ExitCode::kDone);
  const std::vector<double> lr = history_.journal().columns.at("lr");
  ASSERT_EQ(lr.size(), 60u) << "40 steps of 8 and 20 of 16";
  EXPECT_NEAR(lr[40], before, 0.05 * before);
  EXPECT_LT(lr.back(), 0.1 * before);
  EXPECT_EQ(manifest(60)["resolved"]["optim.warmup"], "64samples") << "a tenth of 80 steps, in images";
  EXPECT_THAT(lost(), Not(HasSubstr("optim.warmup"))) << "as long as it was";
}

TEST_F(ResumeTest, AnotherBatchAsksForLengthsInSteps) {
  start("[optim]\nfreeze_last_layer = 2it\n", "auto", /*stop=*/3);
  const auto [text, code] = refusal("[optim]\nfreeze_last_layer = 2it\n[train]\nbatch_size = 16\n");
  EXPECT_EQ(code, ExitCode::kUsage);
  EXPECT_THAT(text, AllOf(HasSubstr("train.length"), HasSubstr("optim.freeze_last_layer"), HasSubstr("64samples"), HasSubstr("128samples"),
                          HasSubstr("train.batch_size was 8 and is 16")));
  EXPECT_EQ(start("[optim]\nfreeze_last_layer = 16samples\n[train]\nbatch_size = 16\nlength = 64samples\n"), ExitCode::kDone);
  EXPECT_EQ(manifest(5)["position"], 56) << "3 steps of 8, 2 of 16: no further whole batch";
}

TEST_F(ResumeTest, AnotherConfigurationIsNoDamage) {
  start("", "auto", /*stop=*/3);
  const std::pair<const char*, const char*> changes[] = {
      {"[train]\nmethod = dinov2\n", "train.method was dino and is dinov2"},
      {"[loss]\ncentring = sinkhorn\n", "loss.centring was centre and is sinkhorn"},
      {"[gram]\nweight = 1\nfirst = 1it\nstart = 1it\n", "gram.weight was 0 and is 1"},
      {"[optim]\nname = sgd\n", "optim.name was adamw and is sgd"},
      {"[optim]\nname = lars\n", "optim.name was adamw and is lars"},
      {"[model]\nheads = 4\n", "model.heads was 2 and is 4"},
      {"[model]\nstyle = dinov2\n", "model.style was dino and is dinov2"},
      {"[model]\ndepth = 2\n", "model.depth was 1 and is 2"},
      {"[head]\nweight_norm = no\n", "head.weight_norm was yes and is no"},
      {"[mask]\nscheme = dinov2\n[loss]\npatch_weight = 1\n", "loss.patch_weight was 0 and is 1"}};
  for (const auto& [settings, told] : changes) {
    const auto [text, code] = refusal(settings);
    EXPECT_EQ(code, ExitCode::kUsage) << settings;
    EXPECT_THAT(text, AllOf(HasSubstr(told), Not(HasSubstr("damaged")), Not(HasSubstr("adamw.")))) << settings;
  }
  EXPECT_THAT(steps(), ElementsAre(2, 3)) << "refused before anything is moved";
  EXPECT_EQ(start("[loss]\nkoleo_weight = 0.1\n[optim]\nlr = 0.001\n"), ExitCode::kDone) << "another loss or rate can go on";
  EXPECT_THAT(lost(), AllOf(HasSubstr("loss.koleo_weight was 0 and is 0.1"), HasSubstr("optim.lr was 0.0005 and is 0.001")));
}

TEST_F(ResumeTest, WhereAGramTeacherIsSavedItStays) {
  const std::string gram = "[gram]\nweight = 1\nfirst = 1it\nstart = 1it\n";
  start(gram, "auto", /*stop=*/3);
  const auto [text, code] = refusal("");
  EXPECT_EQ(code, ExitCode::kUsage);
  EXPECT_THAT(text, AllOf(HasSubstr("gram.weight was 1 and is 0"), Not(HasSubstr("damaged"))));
  EXPECT_EQ(start(gram), ExitCode::kDone);
}

TEST_F(ResumeTest, MetricsWithoutTheirCheckpointsAreNotWrittenOver) {
  start();
  const std::string metrics = read_text(history_.metrics_file());
  fs::remove_all(history_.checkpoints_folder());
  const auto [text, code] = refusal("");
  EXPECT_EQ(code, ExitCode::kUsage);
  EXPECT_THAT(text, AllOf(HasSubstr("metrics.jsonl"), HasSubstr("step 8"), HasSubstr("--resume PATH")));
  EXPECT_EQ(read_text(history_.metrics_file()), metrics);
}

TEST_F(ResumeTest, ADamagedNewestIsKeptAsideAndTheOneBeforeCounts) {
  start("", "auto", /*stop=*/6);
  const std::vector<void (*)(const fs::path&)> ways = {
      damage, [](const fs::path& folder) { fs::resize_file(folder / "rank_00000_of_00001.safetensors", 100); },
      [](const fs::path& folder) { fs::remove(folder / "rank_00000_of_00001.safetensors"); },
      [](const fs::path& folder) { std::ofstream(folder / "manifest.json") << ""; },
      [](const fs::path& folder) { fs::remove(folder / "manifest.json"); }};
  for (size_t i = 0; i < ways.size(); ++i) {
    SCOPED_TRACE(i);
    fs::remove_all(work_ / "whole");
    fs::copy(history_.folder(), work_ / "whole", fs::copy_options::recursive);
    ways[i](history_.checkpoint_folder(6));
    const auto [text, code] = refusal("", "strict");
    EXPECT_EQ(code, ExitCode::kFailed);
    EXPECT_THAT(text, AllOf(HasSubstr("step_00000006"), HasSubstr("damaged")));
    EXPECT_THAT(steps(), testing::Contains(4));
    testing::internal::CaptureStdout();
    EXPECT_EQ(start("", "auto", /*stop=*/2), ExitCode::kStopped);
    EXPECT_THAT(testing::internal::GetCapturedStdout(), AllOf(HasSubstr("DAMAGED"), HasSubstr("at step 4")));
    EXPECT_EQ(last_start()["step"], 4);
    EXPECT_TRUE(fs::exists(history_.folder() / "damaged" / "step_00000006"));
    EXPECT_THAT(steps(), ElementsAre(2, 4, 6)) << "the new one";
    fs::remove_all(history_.folder());
    fs::rename(work_ / "whole", history_.folder());
  }
  for (const int64_t step : {2, 4, 6}) damage(history_.checkpoint_folder(step));
  const auto [text, code] = refusal("");
  EXPECT_EQ(code, ExitCode::kFailed) << "never from the start in silence";
  EXPECT_THAT(text, HasSubstr("damage in all 3"));
}

TEST_F(ResumeTest, ACheckpointOfANewerReleaseIsNoDamage) {
  start("", "auto", /*stop=*/4);
  const fs::path file = history_.checkpoint_folder(4) / "manifest.json";
  json newer = json::parse(read_text(file));
  newer["version"] = 2;
  std::ofstream(file) << newer.dump();
  EXPECT_THAT(refusal("").first, HasSubstr("format version 1"));
  EXPECT_THAT(steps(), ElementsAre(2, 4));
}

TEST_F(ResumeTest, AFinishedRunThatIsExtendedSaysWhatJumps) {
  start();
  EXPECT_EQ(start("[train]\nlength = 16it\n"), ExitCode::kDone);
  EXPECT_THAT(lost(), AllOf(HasSubstr("train.length was 8it and is 16it"), HasSubstr("the learning rate goes from 1e-06 to"),
                            HasSubstr("weight decay goes from 0.4 to"), HasSubstr("the teacher's momentum goes from 1 to"),
                            HasSubstr("train.extend goes on behind the former length"), HasSubstr("train.extend_warmup")));
}

// Behind the end with the values of the end, or with a second rise; neither touches what was done.
TEST_F(ResumeTest, AFinishedRunGoesOnBehindItsEnd) {
  start();
  fs::copy(history_.folder(), work_ / "whole", fs::copy_options::recursive);
  EXPECT_EQ(start("[train]\nextend = 4it\n"), ExitCode::kDone);
  std::vector<double> lr = history_.journal().columns.at("lr");
  ASSERT_EQ(lr.size(), 12u);
  for (size_t i = 8; i < 12; ++i) EXPECT_DOUBLE_EQ(lr[i], 1e-6);
  EXPECT_THAT(lost(), Not(HasSubstr("goes from")));
  EXPECT_THAT(history_.journal().columns.at("momentum").back(), 1.0);
  fs::remove_all(history_.folder());
  fs::rename(work_ / "whole", history_.folder());
  EXPECT_EQ(start("[train]\nextend = 6it\nextend_warmup = 2it\n"), ExitCode::kDone);
  lr = history_.journal().columns.at("lr");
  ASSERT_EQ(lr.size(), 14u);
  EXPECT_DOUBLE_EQ(lr[8], 1e-6);
  EXPECT_DOUBLE_EQ(lr[10], *std::max_element(lr.begin() + 8, lr.end())) << "the peak, behind two steps";
  EXPECT_DOUBLE_EQ(lr[13], 1e-6);
  EXPECT_LT(history_.journal().columns.at("momentum").at(8), 1.0);
  EXPECT_EQ(refusal("[train]\nextend = 6it\nextend_warmup = 7it\n").second, ExitCode::kUsage);
}

TEST_F(ResumeTest, TensorBoardReadsASessionAfterTheOther) {
  const auto files = [&] {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(history_.folder()))
      if (entry.path().filename().string().starts_with("events.out.tfevents.")) found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  };
  fs::create_directories(history_.folder());
  const std::ofstream made(history_.folder() / "events.out.tfevents.4102444800.dinoxx.1");  // the clock was wrong then
  start("", "auto", /*stop=*/3);
  start();
  ASSERT_EQ(files().size(), 3u);
  EXPECT_THAT(files()[1].filename().string(), HasSubstr("tfevents.4102444801."));
  EXPECT_THAT(files()[2].filename().string(), HasSubstr("tfevents.4102444802."));
  EXPECT_THAT(read_text(files()[2]), HasSubstr(std::string("\x10\x04\x3a\x02\x08\x01"))) << "a session that begins with step 4";
}

}  // namespace
}  // namespace dinoxx
