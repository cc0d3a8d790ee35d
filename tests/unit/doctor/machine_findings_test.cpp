// Verdicts on ranks and machines that are made up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "facts.hpp"

namespace dinoxx::doctor {
namespace {

using testing::AllOf;
using testing::DoubleEq;
using testing::ElementsAre;
using testing::HasSubstr;

std::string text_of(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) text += finding_text(finding) + "\n";
  return text;
}

TEST(SoundRanks, HaveNothingToFix) {
  RankMap cpus = sound_ranks({"node1", "node2"}, 4, 16);
  EXPECT_EQ(text_of(machine_findings(cpus)), "");
  RankMap gpus = sound_ranks({"node1", "node2"}, 8, 128);
  give_gpus(gpus);
  EXPECT_EQ(text_of(machine_findings(gpus, 100)), "");
  EXPECT_EQ(text_of(machine_findings(sound_ranks({"laptop"}, 1, 4))), "");
}

TEST(Gpus, TwoRanksOnOneAreAFault) {
  RankMap map = sound_ranks({"node1", "node2"}, 2, 32);
  give_gpus(map);
  map[3].gpu_id = map[2].gpu_id;
  const std::vector<Finding> findings = machine_findings(map);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_EQ(findings[0].severity, Severity::kFault);
  EXPECT_THAT(finding_text(findings[0]), AllOf(HasSubstr("ranks 2-3 on node2"), HasSubstr("0000:00:00.0")));
  // the same address on another host is another GPU, a part of one is not the other part
  map = sound_ranks({"node1", "node2"}, 2, 32);
  give_gpus(map);
  map[1].gpu_address = map[0].gpu_address;
  EXPECT_EQ(text_of(machine_findings(map)), "");
}

TEST(Gpus, MoreRanksThanGpus) {
  RankMap map = sound_ranks({"node1"}, 3, 32);
  give_gpus(map);
  for (HostFacts& facts : map) facts.gpus = 2;
  map[2].gpu = -1;
  map[2].gpu_id.clear();
  const std::vector<Finding> findings = gpu_findings(map);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_EQ(findings[0].severity, Severity::kFault);
  EXPECT_THAT(finding_text(findings[0]), AllOf(HasSubstr("rank 2 on node1"), HasSubstr("2 GPUs visible")));
}

TEST(Gpus, AHostWithoutAndAHostThatCannot) {
  RankMap map = sound_ranks({"node1", "node2"}, 1, 32);
  give_gpus(map);
  map[1].gpus = 0;
  map[1].gpu = -1;
  map[1].gpu_id = map[1].gpu_name = "";
  EXPECT_THAT(text_of(gpu_findings(map)), AllOf(HasSubstr("fault: rank 1 on node2: expected GPUs"), HasSubstr("CUDA_VISIBLE_DEVICES")));
  map[1].gpus_unusable = "a driver for CUDA 11.8";
  EXPECT_THAT(text_of(gpu_findings(map)), AllOf(HasSubstr("fault: GPUs of node2"), HasSubstr("a driver for CUDA 11.8")));
}

TEST(Gpus, FarCoresAndANarrowLink) {
  RankMap map = sound_ranks({"node1"}, 1, 16);
  give_gpus(map);
  map[0].numa = {{0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}};
  map[0].cpus = {8, 9, 10, 11, 12, 13, 14, 15};
  map[0].gpu_numa = 0;
  EXPECT_THAT(text_of(gpu_findings(map)), HasSubstr("warn: rank 0 on node1: expected cores of NUMA node 0, where its GPU is"));
  map[0].gpu_numa = 1;
  EXPECT_EQ(text_of(gpu_findings(map)), "");
  map[0].pcie = "2.5 GT/s PCIe x16";  // an idle one rests
  map[0].pcie_best = "32.0 GT/s PCIe x16";
  EXPECT_EQ(text_of(gpu_findings(map)), "");
  map[0].pcie = "32.0 GT/s PCIe x4";
  EXPECT_THAT(text_of(gpu_findings(map)), HasSubstr("expected a PCIe link of 32.0 GT/s PCIe x16, found 32.0 GT/s PCIe x4"));
}

TEST(Agreement, NamesRankAndHostOfAnotherVersion) {
  RankMap map = sound_ranks({"node1", "node2", "node3"}, 1, 8);
  map[1].versions[1].second = "Open MPI v5.0.1";
  const std::vector<Finding> findings = agreement_findings(map);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_EQ(findings[0].severity, Severity::kFault);
  EXPECT_EQ(findings[0].subject, "version of MPI");
  EXPECT_EQ(findings[0].found, "Open MPI v4.1.4 on ranks 0,2 on node1 and node3; Open MPI v5.0.1 on rank 1 on node2");
}

TEST(Agreement, DevicesAndDriversThatDifferAreWarnings) {
  RankMap map = sound_ranks({"node1", "node2"}, 1, 8);
  give_gpus(map);
  map[1].gpu_name = "A100";
  map[0].versions.emplace_back("driver", "580.1");
  map[1].versions.emplace_back("driver", "550.1");
  map[1].simd = "avx2";
  map[1].cpu_model = "an older one";
  const std::vector<Finding> findings = agreement_findings(map);
  EXPECT_EQ(of_severity(findings, Severity::kWarn), 4u) << text_of(findings);
  EXPECT_EQ(of_severity(findings, Severity::kFault), 0u);
  EXPECT_THAT(text_of(findings), HasSubstr("A100 on rank 1 on node2"));
}

TEST(Cores, AreSharedByWhoIsBoundToThem) {
  RankMap map = sound_ranks({"node1"}, 3, 4);
  map[0].cpus = {0, 1};
  map[1].cpus = {1};
  map[2].cpus = {2, 3};
  EXPECT_THAT(cores_of_ranks(map), ElementsAre(DoubleEq(1.5), DoubleEq(0.5), DoubleEq(2)));
  for (HostFacts& facts : map) facts.quota = 2;
  EXPECT_THAT(cores_of_ranks(map), ElementsAre(DoubleEq(0.75), DoubleEq(0.25), DoubleEq(1)));
  map[1].cpus.clear();
  EXPECT_DOUBLE_EQ(cores_of_ranks(map)[1], 0);
}

TEST(Cores, OneForThreeRanksIsAHarmfulBinding) {
  RankMap map = sound_ranks({"node1"}, 3, 12);
  for (HostFacts& facts : map) facts.cpus = {0}, facts.threads = 1;
  const std::vector<Finding> findings = core_findings(map);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_EQ(finding_text(findings[0]),
            "warn: ranks 0-2 on node1: expected the 12 cores that the job has there, found a binding to 1 of them, for 3 ranks. Start with "
            "mpirun "
            "--bind-to none, or give each rank 4 cores (mpirun --map-by slot:PE=4).");
}

TEST(Cores, OneForEachOfTwoRanksWhereThereAre64) {
  RankMap map = sound_ranks({"node1"}, 2, 64);  // what mpirun -n 2 does without an option
  for (HostFacts& facts : map) facts.cpus = {facts.rank}, facts.threads = 1;
  EXPECT_THAT(text_of(core_findings(map)), HasSubstr("expected the 64 cores that the job has there, found a binding to 2 of them"));
  for (HostFacts& facts : map) facts.launcher = "srun";
  EXPECT_THAT(text_of(core_findings(map)), HasSubstr("srun --cpus-per-task 32"));
  for (HostFacts& facts : map) facts.allocated = 2;  // all that the job has
  EXPECT_EQ(text_of(core_findings(map)), "");
}

TEST(Cores, MoreRanksThanCoresAreNamed) {
  RankMap map = sound_ranks({"node1", "node2"}, 4, 8);
  for (HostFacts& facts : map)
    if (facts.host == "node2") facts.cpus = {0, 1}, facts.online = 2, facts.threads = 1;
  const std::vector<Finding> findings = core_findings(map);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_THAT(finding_text(findings[0]),
              AllOf(HasSubstr("warn: ranks 4-7 on node2: "), HasSubstr("oversubscribed cores: 0.5 a rank"), HasSubstr("at most 2 ranks")));
}

TEST(Cores, AQuotaOfAContainerCounts) {
  RankMap map = sound_ranks({"node1"}, 1, 16);
  map[0].quota = 2;
  EXPECT_THAT(text_of(core_findings(map)), AllOf(HasSubstr("a quota of 2 cores"), HasSubstr("OMP_NUM_THREADS=2")));
}

TEST(Cores, TheLoaderOfAGpuWantsItsOwn) {
  RankMap map = sound_ranks({"node1"}, 8, 16);  // 16 cores of the machine's 128 for 8 GPUs
  give_gpus(map);
  for (HostFacts& facts : map) facts.online = 128, facts.allocated = 16, facts.launcher = "srun";
  const std::vector<Finding> findings = core_findings(map);
  ASSERT_EQ(findings.size(), 1u) << text_of(findings);
  EXPECT_THAT(finding_text(findings[0]), AllOf(HasSubstr("warn: ranks 0-7 on node1: expected 8 cores a rank"), HasSubstr("found 2 a rank"),
                                               HasSubstr("128 cores and the job 16"), HasSubstr("srun --cpus-per-task 8")));
  for (HostFacts& facts : map) facts.own_workers = true, facts.workers = 1;  // the user knows: 1, and 2 for the step
  EXPECT_THAT(text_of(core_findings(map)), HasSubstr("expected 3 cores a rank"));
}

TEST(Limits, OfOpenFiles) {
  RankMap map = sound_ranks({"node1"}, 2, 8);
  for (HostFacts& facts : map) facts.files = {256, 256};
  EXPECT_EQ(of_severity(limit_findings(map, 0), Severity::kWarn), 1u);
  EXPECT_THAT(text_of(limit_findings(map, 0)), AllOf(HasSubstr("ranks 0-1 on node1"), HasSubstr("a limit of 256")));
  // 300 shards do not fit
  EXPECT_EQ(of_severity(limit_findings(map, 300), Severity::kFault), 1u) << text_of(limit_findings(map, 300));
  EXPECT_THAT(text_of(limit_findings(map, 300)), HasSubstr("366 open files for 300 shards"));
  for (HostFacts& facts : map) facts.files = {256, 4096};  // the program raises it itself
  EXPECT_EQ(text_of(limit_findings(map, 300)), "");
}

TEST(Limits, OfMemoryAndCores) {
  RankMap map = sound_ranks({"node1"}, 2, 8);
  for (HostFacts& facts : map) facts.locked_memory = {65536, 65536};
  EXPECT_EQ(text_of(limit_findings(map, 0)), "");  // nothing there that locks memory
  for (HostFacts& facts : map) facts.rdma = {"mlx5_0"};
  EXPECT_THAT(text_of(limit_findings(map, 0)), AllOf(HasSubstr("warn: "), HasSubstr("66 kB (ulimit -l)")));
  map = sound_ranks({"node1"}, 2, 8);
  for (HostFacts& facts : map) facts.shm_free = 16 << 20;
  EXPECT_THAT(text_of(limit_findings(map, 0)), AllOf(HasSubstr("warn: "), HasSubstr("/dev/shm")));
  map = sound_ranks({"node1"}, 1, 8);
  map[0].shm_free = 0;  // alone it needs none
  map[0].core_size = {0, -1};
  EXPECT_THAT(text_of(limit_findings(map, 0)), HasSubstr("note: rank 0 on node1: expected core dumps"));
}

TEST(Words, ForRanksAndCores) {
  const RankMap map = sound_ranks({"a", "b", "c", "d", "e", "f"}, 2, 4);
  EXPECT_EQ(ranks_in_words(map, {3}), "rank 3 on b");
  EXPECT_EQ(ranks_in_words(map, {0, 1, 2}), "ranks 0-2 on a and b");
  EXPECT_EQ(ranks_in_words(map, {0, 2, 4, 6, 8, 10}), "ranks 0,2,4,6,8,10 on a, b, c, d and 2 more hosts");
  EXPECT_EQ(cores_text(2), "2");
  EXPECT_EQ(cores_text(0.333), "0.3");
}

TEST(Verdicts, AreInOrderAndSayWhatTheyComeTo) {
  Verdict verdict;
  EXPECT_EQ(verdict.headline(), "verdict: nothing to fix");
  EXPECT_EQ(verdict.exit_code(), 0);
  verdict.add(Finding{Severity::kNote, "n", "", "", ""});
  EXPECT_EQ(verdict.headline(), "verdict: nothing to fix, 1 note");
  verdict.add(Finding{Severity::kWarn, "w1", "", "", ""});
  verdict.add(Finding{Severity::kWarn, "w2", "", "", ""});
  EXPECT_EQ(verdict.exit_code(), 0);
  verdict.add(Finding{Severity::kFault, "f", "a", "b.", "Do c"});
  EXPECT_EQ(verdict.headline(), "verdict: 1 fault, 2 warnings, 1 note");
  EXPECT_EQ(verdict.exit_code(), 1);
  EXPECT_EQ(verdict.findings[0].subject + verdict.findings[1].subject + verdict.findings[2].subject + verdict.findings[3].subject,
            "fw1w2n");
  EXPECT_EQ(finding_text(verdict.findings[0]), "fault: f: expected a, found b. Do c.");
}

}  // namespace
}  // namespace dinoxx::doctor
