// Arithmetic of bandwidths, verdicts on figures that are made up, and clocks of ranks that are threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/measure/clock_skew.hpp"
#include "doctor/measure/collectives.hpp"
#include "doctor/measure/read_rate.hpp"
#include "doctor/measure/write_rate.hpp"
#include "doctor/stage_watch.hpp"
#include "doctor/start_check.hpp"
#include "facts.hpp"
#include "thread_ranks.hpp"

namespace dinoxx::doctor {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string text_of(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) text += finding_text(finding) + "\n";
  return text;
}

TEST(BusBandwidth, IsThatOfNcclTests) {
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllReduce, 2), 1);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllReduce, 4), 1.5);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kReduceScatter, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kAllGather, 8), 0.875);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::kBroadcast, 8), 1);
  const CollectiveTime time{Collective::kAllReduce, 4, 1000000, 0.001};
  EXPECT_DOUBLE_EQ(time.algorithm_bandwidth(), 1e9);
  EXPECT_DOUBLE_EQ(time.bus_bandwidth(), 1.5e9);
  EXPECT_EQ(rate_text(1.5e9), "1.50 GB/s");
  EXPECT_EQ(rate_text(999.9e6), "1000 MB/s");
  EXPECT_EQ(duration_text(2.5e-5), "25.0 us");
}

// All pairs of one rank on each of `hosts` hosts at 1 GB/s.
std::vector<PairTime> equal_pairs(int hosts) {
  std::vector<PairTime> pairs;
  for (int i = 0; i < hosts; ++i)
    for (int j = i + 1; j < hosts; ++j) pairs.push_back({i, j, 1 << 20, 1e9});
  return pairs;
}

TEST(Pairs, ASlowOneIsNamed) {
  const RankMap map = sound_ranks({"node1", "node2", "node3", "node4"}, 1, 8);
  std::vector<PairTime> pairs = equal_pairs(4);
  EXPECT_EQ(text_of(network_findings(map, {}, {}, pairs)), "");
  pairs[1].bandwidth = 0.5e9;  // a half is not yet a fault of the link
  EXPECT_EQ(text_of(network_findings(map, {}, {}, pairs)), "");
  pairs[1].bandwidth = 0.1e9;  // 0 and 2
  const std::vector<Finding> findings = network_findings(map, {}, {}, pairs);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_THAT(finding_text(findings[0]), AllOf(HasSubstr("warn: rank 0 on node1 and rank 2 on node3: "), HasSubstr("100 MB/s")));
}

TEST(Pairs, AHostThatIsSlowWithAllIsNamedAlone) {
  const RankMap map = sound_ranks({"node1", "node2", "node3"}, 1, 8);
  std::vector<PairTime> pairs = equal_pairs(3);
  for (PairTime& pair : pairs)
    if (pair.first == 1 || pair.second == 1) pair.bandwidth = 0.1e9;
  const std::vector<Finding> findings = network_findings(map, {}, {}, pairs);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_EQ(findings[0].subject, "network of node2");
}

TEST(Links, PromiseWhatTheSlowestHostHas) {
  RankMap map = sound_ranks({"node1", "node2"}, 2, 8);
  for (HostFacts& facts : map) facts.links = {{"eth0", 10000}, {"ib0", 100000}};
  for (int rank : {2, 3}) map[static_cast<size_t>(rank)].links = {{"eth0", 10000}};
  const LinkPromise promise = link_promise(map, 5e9);
  EXPECT_DOUBLE_EQ(promise.bandwidth, 1.25e9);
  EXPECT_EQ(promise.what, "eth0 of node2, 10 Gbit/s");
  const std::vector<CollectiveTime> fast{{Collective::kAllReduce, 4, 1 << 10, 1e-4}, {Collective::kAllReduce, 4, 1000000, 1.5e6 / 1e9}},
      slow{{Collective::kAllReduce, 4, 1 << 10, 1e-2}, {Collective::kAllReduce, 4, 1000000, 1.5e6 / 0.1e9}};
  EXPECT_EQ(text_of(network_findings(map, fast, promise, {})), "");
  EXPECT_THAT(text_of(network_findings(map, slow, promise, {})),
              AllOf(HasSubstr("warn: all-reduce of 1024 bytes: expected at most 5.00 ms between hosts, found 10.0 ms"),
                    HasSubstr("20 % of the 1.25 GB/s of eth0 of node2, 10 Gbit/s, found 100 MB/s")));
  map[2].links = {{"eth0", 0}};
  EXPECT_DOUBLE_EQ(link_promise(map, 5e9).bandwidth, 0);
  EXPECT_THAT(link_promise(map, 5e9).what, HasSubstr("node2 does not tell"));
  EXPECT_DOUBLE_EQ(link_promise(sound_ranks({"node1"}, 2, 8), 5e9).bandwidth, 5e9);
  EXPECT_DOUBLE_EQ(link_promise(sound_ranks({"node1"}, 1, 8), 5e9).bandwidth, 0);
}

TEST(Clocks, OfRanksThatAreAheadAndBehind) {
  testing_support::run_thread_ranks(3, [](const std::shared_ptr<Communicator>& group) {
    Communicator& comm = *group;
    const double offset = comm.rank() == 1 ? 5 : comm.rank() == 2 ? -0.5 : 0;
    const auto offsets = clock_offsets(comm, {0, 1, 2}, [&] { return wall_clock() + offset; });
    ASSERT_EQ(offsets.size(), 3u);
    EXPECT_EQ(offsets[0].seconds, 0);
    EXPECT_NEAR(offsets[1].seconds, 5, offsets[1].uncertainty + 1e-6);
    EXPECT_NEAR(offsets[2].seconds, -0.5, offsets[2].uncertainty + 1e-6);
    const RankMap map = sound_ranks({"node1", "node2", "node3"}, 1, 4);
    const std::vector<Finding> findings = clock_findings(map, {{0, 0, 0}, {1, 5, 0.001}, {2, -0.5, 0.001}});
    ASSERT_EQ(findings.size(), 1u);
    EXPECT_THAT(finding_text(findings[0]), AllOf(HasSubstr("clock of node2"), HasSubstr("5.0 s ahead")));
    EXPECT_EQ(clock_findings(map, {{1, -5, 6}}).size(), 0u);  // the network is too slow to tell
  });
}

TEST(Folders, ThatAreSlowFullOrNotThere) {
  const RankMap map = sound_ranks({"node1", "node2"}, 1, 4);
  ReadRate read;
  read.slowest_rank = 5000;
  EXPECT_EQ(text_of(read_findings(map, "data", read)), "");
  read.slowest_rank = 50;
  read.slowest = 1;
  EXPECT_THAT(text_of(read_findings(map, "data", read)), AllOf(HasSubstr("warn: "), HasSubstr("rank 1 on node2"), HasSubstr("found 50")));
  read.error = "shard-0.h5: expected X, found Y. Pack again.";
  EXPECT_THAT(text_of(read_findings(map, "data", read)), AllOf(HasSubstr("fault: "), HasSubstr("found Y. Pack again.\n")));

  WriteRate write;
  write.bytes_a_second = 1e9;
  write.free = int64_t{100} << 30;
  EXPECT_EQ(text_of(write_findings(map, "run", write)), "");
  write.bytes_a_second = 1e6;
  EXPECT_EQ(of_severity(write_findings(map, "run", write), Severity::kWarn), 1u);
  write.bytes_a_second = 1e9;
  write.free = int64_t{2} << 30;
  write.checkpoint = int64_t{3} << 30;
  EXPECT_THAT(text_of(write_findings(map, "run", write)), HasSubstr("fault: run folder run: expected room for the next checkpoint"));
  write.free = int64_t{4} << 30;
  EXPECT_EQ(of_severity(write_findings(map, "run", write), Severity::kWarn), 1u);
  write.free = int64_t{400} << 30;
  write.checkpoint = int64_t{100} << 30;
  EXPECT_THAT(text_of(write_findings(map, "run", write)), HasSubstr("in a minute"));
  write.checkpoint = 0;
  write.clock = 3;
  EXPECT_THAT(text_of(write_findings(map, "run", write)), HasSubstr("3.0 s ahead"));
  write.error = "no space";
  write.failed = 1;
  EXPECT_THAT(text_of(write_findings(map, "run", write)), AllOf(HasSubstr("fault: "), HasSubstr("rank 1 on node2"), HasSubstr("no space")));
}

TEST(MachineLine, SaysRanksHostsCoresAndThreads) {
  EXPECT_EQ(machine_line(sound_ranks({"laptop"}, 1, 4)), "machine: 1 rank on 1 host, 4 cores; 4 compute and 1 loader thread");
  RankMap map = sound_ranks({"node1", "node2"}, 2, 32);
  give_gpus(map);
  for (HostFacts& facts : map) facts.workers = 14;
  EXPECT_EQ(machine_line(map), "machine: 4 ranks on 2 hosts, 4 x H100, 16 cores each; 16 compute and 14 loader threads each");
  map[3].cpus = {0};
  EXPECT_THAT(machine_line(map), HasSubstr("0.5 to 31.5 cores each"));
}

TEST(StartLines, AreRankZerosAndWarnOfThisMachine) {
  testing_support::run_thread_ranks(2, [](const std::shared_ptr<Communicator>& group) {
    Communicator& comm = *group;
    Process process;
    process.rank = comm.rank();
    RunNeeds needs;
    needs.threads = 100000;
    const std::vector<std::string> lines = start_lines(comm, process, needs);
    if (comm.rank() != 0) {
      EXPECT_TRUE(lines.empty());
      return;
    }
    ASSERT_GE(lines.size(), 2u);
    EXPECT_THAT(lines[0], HasSubstr("machine: 2 ranks on 1 host"));
    EXPECT_THAT(lines[1], AllOf(testing::StartsWith("warning: ranks 0-1 on "), HasSubstr("100000 a rank")));
  });
}

// Of a stage that takes longer a training says it once and goes on; of one that is over in time nothing.
TEST(StageWatch, SaysWhoWaits) {
  testing::internal::CaptureStderr();
  {
    StageWatch watch(3, StageWatch::AtLimit::kSay);
    watch.begin("a short stage", 30);
    watch.begin("the start of MPI", 0.01);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, testing::AllOf(testing::StartsWith("dinoxx: rank 3 on host "), testing::HasSubstr("\"the start of MPI\""),
                                   testing::Not(testing::HasSubstr("short"))));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1);
}

}  // namespace
}  // namespace dinoxx::doctor
