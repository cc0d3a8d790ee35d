// What dinoxx doctor gathers and measures over real ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <set>
#include <thread>

#include "comm/probe/roll_call.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"
#include "doctor/machine/rank_map.hpp"
#include "doctor/measure/clock_skew.hpp"
#include "doctor/measure/collectives.hpp"
#include "doctor/measure/trial_step.hpp"
#include "doctor/start_check.hpp"

namespace dinoxx::doctor {
namespace {

using testing::HasSubstr;

TEST(DoctorRanks, AreOnAllRanksTheSameMap) {
  const auto comm = make_mpi_communicator();
  Process process;
  process.rank = comm->rank();
  HostFacts mine = host_facts(process);
  mine.host = comm->rank() % 2 == 0 ? "even" : "odd";
  const RankMap map = gather_facts(*comm, mine);
  ASSERT_EQ(map.size(), static_cast<size_t>(comm->size()));
  for (int r = 0; r < comm->size(); ++r) {
    EXPECT_EQ(map[static_cast<size_t>(r)].rank, r);
    EXPECT_EQ(map[static_cast<size_t>(r)].host, r % 2 == 0 ? "even" : "odd");
    EXPECT_FALSE(map[static_cast<size_t>(r)].cpus.empty());
  }
  EXPECT_EQ(hosts_of(map).size(), comm->size() > 1 ? 2u : 1u);
}

TEST(DoctorCollectives, HaveTimesThatAllRanksShare) {
  const auto comm = make_mpi_communicator();
  for (const Collective collective : kCollectives)
    for (const int64_t bytes : {int64_t{4}, int64_t{1000}, int64_t{1 << 18}}) {
      const CollectiveTime time = time_collective(*comm, at::kCPU, collective, bytes, 0.01);
      EXPECT_GT(time.seconds, 0);
      EXPECT_LT(time.seconds, 10);
      EXPECT_EQ(time.ranks, comm->size());
      EXPECT_EQ(time.bytes % (4 * comm->size()), 0);
      EXPECT_GE(time.bytes, std::min<int64_t>(bytes / 2, 4));
      EXPECT_LE(time.bytes, std::max<int64_t>(bytes, 4 * comm->size()));
      at::Tensor span = at::tensor({time.seconds, -time.seconds}, at::kDouble);
      comm->all_reduce(span, ReduceOp::kMax)->wait();
      EXPECT_EQ(span[0].item<double>(), -span[1].item<double>()) << "ranks come to different times";
    }
  EXPECT_GT(copy_rate(*comm, at::kCPU), 1e6);
}

TEST(DoctorCollectives, MeasureEachPairOnce) {
  const auto comm = make_mpi_communicator();
  std::vector<int> ranks(static_cast<size_t>(comm->size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  const std::vector<PairTime> pairs = time_pairs(*comm, at::kCPU, ranks, 1 << 16);
  EXPECT_EQ(pairs.size(), ranks.size() * (ranks.size() - 1) / 2);
  std::set<std::pair<int, int>> seen;
  for (const PairTime& pair : pairs) {
    EXPECT_LT(pair.first, pair.second);
    EXPECT_GT(pair.bandwidth, 0);
    EXPECT_TRUE(seen.emplace(pair.first, pair.second).second);
  }
}

TEST(DoctorClock, OfOneHostIsOne) {
  const auto comm = make_mpi_communicator();
  std::vector<int> ranks(static_cast<size_t>(comm->size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  const double ahead = comm->rank() == comm->size() - 1 && comm->size() > 1 ? 100 : 0;
  for (const ClockOffset& offset : clock_offsets(*comm, ranks, [&] { return wall_clock() + ahead; }))
    EXPECT_NEAR(offset.seconds, offset.rank == comm->size() - 1 && comm->size() > 1 ? 100 : 0, offset.uncertainty + 1e-4) << offset.rank;
}

TEST(DoctorRollCall, NamesWhoDoesNotComeAndForgetsLateAnswers) {
  const auto comm = make_mpi_communicator();
  EXPECT_TRUE(absent_ranks(20).empty());
  const bool late = comm->rank() == comm->size() - 1 && comm->size() > 1;
  if (late) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  const std::vector<int> absent = absent_ranks(0.3);
  if (comm->rank() == 0 && comm->size() > 1) {
    EXPECT_THAT(absent, testing::ElementsAre(comm->size() - 1));
  }
  comm->barrier();
  if (late) std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  const std::vector<int> again = absent_ranks(0.2);  // the answer of before is none to this
  if (comm->rank() == 0 && comm->size() > 1) {
    EXPECT_THAT(again, testing::ElementsAre(comm->size() - 1));
  }
  comm->barrier();
  EXPECT_TRUE(absent_ranks(20).empty());
  comm->barrier();
}

TEST(DoctorStep, TrainsAndAgrees) {
  const auto control = make_mpi_communicator();
  const TrialStep step = trial_step({control, make_mpi_communicator(), make_mpi_communicator()}, at::kCPU, 1);
  EXPECT_EQ(step.error, "");
  EXPECT_EQ(step.batch, 8 * control->size());
  EXPECT_GT(step.loss, 1);
  EXPECT_LT(step.loss, 10);
  EXPECT_TRUE(step_findings(step).empty());
}

TEST(DoctorStart, WarnsOfRanksThatAreNotAlike) {
  const auto comm = make_mpi_communicator();
  Process process;
  process.rank = comm->rank();
  process.build = {{"dinoxx", "0.1.0"}, {"git", comm->rank() == 1 ? "another" : "one"}};
  const std::vector<std::string> lines = start_lines(*comm, process, {});
  if (comm->rank() != 0) {
    EXPECT_TRUE(lines.empty());
    return;
  }
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(lines[0], HasSubstr("machine: "));
  if (comm->size() > 1) {
    EXPECT_THAT(lines, testing::Contains(testing::AllOf(HasSubstr("warning: version of dinoxx"), HasSubstr("rank 1 on "))));
  }
}

}  // namespace
}  // namespace dinoxx::doctor
