// What a start proves before the work: folders and files of all ranks, room on the disk, schedules that the run is long enough for.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <set>

#include "base/machine.hpp"
#include "checkpoint/train_state_io.hpp"
#include "comm/agree.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "history/run_history.hpp"
#include "method/settings/resolve.hpp"
#include "step/late_schedules.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"
#include "train/calendar.hpp"
#include "train/data_wait.hpp"
#include "train/disk_room.hpp"
#include "train/start/shared_files.hpp"
#include "train/time_limit.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::run_thread_ranks;
using testing_support::TemporaryFolder;

// The message with which all of three ranks end; empty: none does. own_path: what each rank calls by another name in it.
std::string agreed_refusal(const std::function<void(Communicator&)>& work, const std::function<fs::path(int)>& own_path = {}) {
  std::vector<std::string> messages(3);
  run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& comm) {
    try {
      work(*comm);
    } catch (const AgreedError& error) {
      std::string& message = messages[static_cast<size_t>(comm->rank())];
      message = error.what();
      for (int rank = 0; own_path && rank < 3; ++rank) {
        const std::string path = own_path(rank).string();
        if (const size_t at = message.find(path); at != std::string::npos) message.replace(at, path.size(), "PATH");
      }
    }
  });
  EXPECT_EQ(messages[0], messages[1]);
  EXPECT_EQ(messages[0], messages[2]);
  return messages[0];
}

TEST(DataWait, IsToldOnceWhereItLasts) {
  DataWait rare, brief, lasting;
  EXPECT_FALSE(lasting.look(0.9, 100, 2)) << "the ring is being filled";
  for (const double share : {0.0, 0.5, 0.5, 0.1, 0.5, 0.5, 0.2}) EXPECT_FALSE(rare.look(share, 100, 2)) << "no three in a row";
  for (int record = 0; record < 10; ++record) EXPECT_FALSE(brief.look(0.5, 1, 2)) << "a toy run";
  EXPECT_FALSE(lasting.look(0.5, 15, 2));
  EXPECT_FALSE(lasting.look(0.5, 15, 2));
  EXPECT_THAT(lasting.look(0.431, 15, 2).value(), testing::AllOf(testing::HasSubstr("43 %"), testing::HasSubstr("data.workers = 2")));
  EXPECT_FALSE(lasting.look(0.5, 15, 2)) << "once";
}

TEST(SharedFolder, OfAllRanksIsFine) {
  const TemporaryFolder folder;
  EXPECT_THAT(agreed_refusal([&](Communicator& comm) { check_shared_folder(comm, folder.path()); }), IsEmpty());
  EXPECT_EQ(folder.listing(), "") << "nothing is left behind";
}

TEST(SharedFolder, OfItsOwnOnOneRankIsRefusedByRankAndHost) {
  const TemporaryFolder shared, other;
  const std::string message =
      agreed_refusal([&](Communicator& comm) { check_shared_folder(comm, comm.rank() == 2 ? other.path() : shared.path()); });
  EXPECT_THAT(message, AllOf(HasSubstr("rank 2 on host " + host_name() + ": --out"), HasSubstr("all hosts share"), HasSubstr(host_name()),
                             HasSubstr(other.path().string())));
  EXPECT_EQ(shared.listing() + other.listing(), "");
}

TEST(SharedFolder, ThatIsNotThereOnOneRankIsRefused) {
  const TemporaryFolder shared;
  EXPECT_THAT(agreed_refusal([&](Communicator& comm) { check_shared_folder(comm, comm.rank() == 1 ? shared / "none" : shared.path()); }),
              HasSubstr("rank 1 on host " + host_name() + ": --out"));
  EXPECT_EQ(shared.listing(), "");
}

// What checks that were killed have left goes with the next start; what another one needs that is under way stays.
TEST(SharedFolder, LosesTheFilesOfChecksThatWereKilled) {
  const TemporaryFolder folder;
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const auto leave = [&](const std::string& name, const std::string& text, int minutes) {
    std::ofstream(folder / name) << text;
    std::filesystem::last_write_time(folder / name, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(minutes));
  };
  leave(".shared-0001", fmt::format("0001 {} {}\n", host_name(), gone), 0);
  leave(".shared-0001-2", "0001", 0);
  leave(".shared-0002", "0002", 60);
  leave(".shared-0003", "0003", 0);
  leave(".shared-0004", fmt::format("0004 {} {}\n", host_name(), ::getpid()), 0);
  EXPECT_THAT(agreed_refusal([&](Communicator& comm) { check_shared_folder(comm, folder.path()); }), IsEmpty());
  std::set<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) left.insert(entry.path().filename().string());
  EXPECT_THAT(left, ElementsAre(".shared-0003", ".shared-0004"));
}

TEST(SameFiles, AnotherByteOnOneRankIsRefusedByKeyAndRank) {
  const TemporaryFolder folder;
  const auto file_of = [&](int rank) { return folder / std::to_string(rank) / "weights.safetensors"; };
  for (int rank = 0; rank < 3; ++rank) {
    fs::create_directories(file_of(rank).parent_path());
    std::ofstream(file_of(rank)) << "the same";
  }
  const auto refusal = [&](bool folders) {
    const auto path_of = [&](int rank) { return folders ? file_of(rank).parent_path() : file_of(rank); };
    return agreed_refusal([&](Communicator& comm) { check_same_files(comm, "model.init_from", path_of(comm.rank())); }, path_of);
  };
  EXPECT_THAT(refusal(false), IsEmpty());
  EXPECT_THAT(refusal(true), IsEmpty());
  std::ofstream(file_of(2)) << "the sAme";
  EXPECT_THAT(refusal(false), AllOf(HasSubstr("model.init_from"), HasSubstr("ranks 2")));
  EXPECT_THAT(refusal(true), AllOf(HasSubstr("model.init_from"), HasSubstr("ranks 2")));
  fs::remove(file_of(1));
  EXPECT_THAT(refusal(false), AllOf(HasSubstr("model.init_from"), HasSubstr("rank 1")));
}

std::string small_run(const std::string& more) {
  return "[model]\ndim = 24\ndepth = 2\nheads = 2\npatch_size = 8\n[head]\nout_dim = 48\nhidden_dim = 40\nbottleneck_dim = 24\n"
         "[views]\nglobal_size = 32\nlocal_count = 0\n[train]\nbatch_size = 8\nlength = 6it\n" +
         more;
}

Config resolved(const std::string& more) {
  Config config = default_config();
  apply_settings(config, parse_settings(small_run(more), "test"));
  return resolve_config(config, 80, 1);
}

TEST(CheckpointBytes, AreThoseOfTheFiles) {
  const TemporaryFolder folder;
  for (const char* more : {"", "[optim]\nname = sgd\n", "[loss]\ncentring = sinkhorn\n"}) {
    const Config config = resolved(more);
    TrainState state(config, make_method(config), at::kFloat);
    RunFacts facts;
    facts.config_text = print_config(config);
    const auto comm = make_self_communicator();
    double found = 0;
    for (const auto& file : fs::directory_iterator(save_state(*comm, folder / "checkpoints", state, facts)))
      found += static_cast<double>(file.file_size());
    EXPECT_NEAR(static_cast<double>(checkpoint_bytes(state).all()) / found, 1, 0.1) << more;
  }
}

TEST(Calendar, CountsTheCheckpointsToCome) {
  const auto calendar = [](const std::string& more) { return Calendar(resolved(more), 80, 6); };
  EXPECT_EQ(calendar("[checkpoint]\nevery = 2it\n").saves_until_end(0, 9), 3);
  EXPECT_EQ(calendar("[checkpoint]\nevery = 2it\n").saves_until_end(2, 9), 2);
  EXPECT_EQ(calendar("[checkpoint]\nevery = 2it\n").saves_until_end(0, 2), 2);
  EXPECT_EQ(calendar("[checkpoint]\nevery = 4it\n").saves_until_end(0, 9), 2) << "step 4 and the last";
  EXPECT_EQ(calendar("[checkpoint]\nevery = 0\n").saves_until_end(0, 9), 1);
  EXPECT_EQ(calendar("[checkpoint]\nevery = 0\n").saves_until_end(6, 9), 0);
  EXPECT_EQ(calendar("[checkpoint]\nevery = 1it\nkeep_every = 2it\n").saves_until_end(0, 9), 3) << "1, 3 and 5";
  EXPECT_EQ(calendar("[checkpoint]\nevery = 1it\nkeep_every = 2it\n").kept_until_end(0), 3);
}

TEST(TimeLimit, CountsFromTheStartOfTheProcessAndLeavesRoomForASave) {
  EXPECT_FALSE(TimeLimit(0).is_up(1e9, 1e9, 1e9)) << "no limit";
  const TimeLimit limit(process_seconds() + 1000);
  EXPECT_FALSE(limit.is_up(1, 1, 1));
  EXPECT_TRUE(limit.is_up(1, 1, 500)) << "a save of 500 seconds and what may delay it";
  EXPECT_TRUE(limit.is_up(600, 0, 0));
  EXPECT_FALSE(limit.must_save(1));
  EXPECT_TRUE(TimeLimit(process_seconds()).must_save(0));
}

TEST(TimeLimit, ASaveIsAssumedToTakeTime) {
  const TemporaryFolder folder;
  run_thread_ranks(2, [&](const std::shared_ptr<Communicator>& comm) {
    EXPECT_GT(assumed_save_seconds(*comm, folder.path(), {3 << 20, 1 << 20}), 0);
  });
  EXPECT_EQ(folder.listing(), "");
  const std::string refusal = agreed_refusal([&](Communicator& comm) {
    assumed_save_seconds(comm, comm.rank() == 1 ? folder / "none" : folder.path(), {1 << 20, 0});
  });
  EXPECT_THAT(refusal, HasSubstr("rank 1"));
}

TEST(LateSchedules, AreNamedWithWhatTheRunNeverGetsTo) {
  const auto lines = [](const std::string& more) { return testing::PrintToString(late_schedules(resolved(more), 80)); };
  EXPECT_THAT(late_schedules(resolved(""), 80), IsEmpty());
  EXPECT_THAT(lines("[teacher]\ntemp = 0.07\nwarmup_temp = 0.04\nwarmup_temp_epochs = 3ep\n"),
              AllOf(HasSubstr("teacher.warmup_temp_epochs = 3ep"), HasSubstr("step 30"), HasSubstr("never gets to teacher.temp = 0.07")));
  EXPECT_THAT(late_schedules(resolved("[teacher]\ntemp = 0.04\nwarmup_temp = 0.04\nwarmup_temp_epochs = 3ep\n"), 80), IsEmpty());
  EXPECT_THAT(lines("[optim]\nfreeze_last_layer = 6it\n"),
              AllOf(HasSubstr("optim.freeze_last_layer = 6it"), HasSubstr("stay as they begin")));
  EXPECT_THAT(late_schedules(resolved("[optim]\nfreeze_last_layer = 5it\n"), 80), IsEmpty());
  const std::string gram = "method = dinov3\n[model]\nstyle = dinov3\n[mask]\ngroup_size = 1\n[gram]\nweight = 1\nfirst = 1it\n";
  EXPECT_THAT(lines(gram + "start = 6it\n"), AllOf(HasSubstr("gram.start = 6it"), HasSubstr("never begins")));
  EXPECT_THAT(lines(gram + "start = 2it\nramp = 10it\n"), AllOf(HasSubstr("gram.ramp = 10it"), HasSubstr("not to gram.weight = 1")));
  EXPECT_THAT(late_schedules(resolved(gram + "start = 2it\nramp = 3it\n"), 80), IsEmpty());
}

}  // namespace
}  // namespace dinoxx
