// Which steps of a run are evaluated and saved, stopped and resumed anywhere: by the loop itself, in one process.
#include <gmock/gmock.h>

#include <fstream>

#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "history/run_history.hpp"
#include "support/temporary_folder.hpp"
#include "train/train.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
using testing::ElementsAre;

class EvaluationSchedule : public testing::Test {
 protected:
  EvaluationSchedule() {
    PackOptions pack_options;
    pack_options.source = PackOptions::Source::kToy;
    pack_options.toy.count = 80;
    pack_options.out = work_ / "data";
    pack(pack_options);
    options_.config = default_config();
    apply_settings(options_.config, parse_settings("[model]\ndim = 16\ndepth = 1\nheads = 2\npatch_size = 8\n"
                                                   "[head]\nout_dim = 16\nhidden_dim = 16\nbottleneck_dim = 8\n"
                                                   "[views]\nglobal_size = 16\nlocal_count = 0\n[train]\nbatch_size = 4\nlength = 7it\n"
                                                   "log_every = 3\n[checkpoint]\nevery = 0\n[eval]\nevery = 3it\n",
                                                   "test"));
    options_.data = work_ / "data";
    options_.make_eval_hook = [this](std::shared_ptr<const Dataset>, const Config&) -> EvalHook {
      return [this](const Network&, int64_t step) -> json {
        evaluated_.push_back(step);
        return {{"accuracy", 0.5}};
      };
    };
  }
  // Stops behind this many steps of the process; 0: does not.
  ExitCode run(const std::string& name, int steps) {
    options_.out = work_ / name;
    int asked = 0;
    options_.stop_signal = [&asked, steps]() -> const char* { return steps > 0 && ++asked >= steps ? "SIGTEST" : nullptr; };
    return train(options_, {make_self_communicator(), make_self_communicator(), make_self_communicator()});
  }
  RunJournal journal() const { return RunHistory(options_.out).journal(); }
  std::vector<int64_t> recorded() const {
    std::vector<int64_t> steps;
    for (const json& record : journal().evals) steps.push_back(record["step"]);
    return steps;
  }

  testing_support::TemporaryFolder work_;
  TrainOptions options_;
  std::vector<int64_t> evaluated_;
};

TEST_F(EvaluationSchedule, TheLastStepIsEvaluatedAndSaved) {
  EXPECT_EQ(run("whole", 0), ExitCode::kDone);
  EXPECT_THAT(evaluated_, ElementsAre(3, 6, 7));
  EXPECT_THAT(recorded(), ElementsAre(3, 6, 7));
  EXPECT_THAT(journal().steps, ElementsAre(3, 6, 7));
  ASSERT_EQ(RunHistory(options_.out).checkpoints().size(), 1u) << "checkpoint.every = 0: the end alone";
  EXPECT_EQ(RunHistory(options_.out).checkpoints().front().step, 7);
  EXPECT_EQ(run("whole", 0), ExitCode::kDone) << "nothing is left to do";
  EXPECT_THAT(evaluated_, ElementsAre(3, 6, 7));
}

// The period counts from the first step of the run, not of the process; what was due when the stop came is evaluated at the next start.
TEST_F(EvaluationSchedule, AResumedRunKeepsTheRhythm) {
  for (int stop = 1; stop < 7; ++stop) {
    SCOPED_TRACE(stop);
    evaluated_.clear();
    const std::string name = std::to_string(stop);
    EXPECT_EQ(run(name, stop), ExitCode::kStopped);
    EXPECT_EQ(RunHistory(options_.out).checkpoints().back().step, stop);
    EXPECT_EQ(evaluated_.size(), static_cast<size_t>((stop - 1) / 3)) << "a stop saves and does not evaluate any more";
    EXPECT_EQ(run(name, 0), ExitCode::kDone);
    EXPECT_THAT(evaluated_, ElementsAre(3, 6, 7));
    EXPECT_THAT(recorded(), ElementsAre(3, 6, 7));
    EXPECT_THAT(journal().steps, ElementsAre(3, 6, 7));
    EXPECT_EQ(journal().starts.size(), 2u);
  }
}

// A checkpoint from which a run goes on may be older than the journal: what stands behind it is done again, evaluations too.
TEST_F(EvaluationSchedule, WhatACrashLostIsEvaluatedAgain) {
  EXPECT_EQ(run("crash", 4), ExitCode::kStopped);
  std::ofstream(RunHistory(options_.out).metrics_file(), std::ios::app)
      << "{\"step\":6,\"loss\":1}\n{\"eval\":{\"accuracy\":1},\"step\":6}\n";
  EXPECT_EQ(run("crash", 0), ExitCode::kDone);
  EXPECT_THAT(evaluated_, ElementsAre(3, 6, 7));
  ASSERT_EQ(journal().evals.size(), 3u);
  EXPECT_EQ(journal().evals[1]["eval"]["accuracy"], 0.5);
}

}  // namespace
}  // namespace dinoxx
