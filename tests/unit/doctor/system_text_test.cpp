// Texts of the kernel, and what is read from folders that look like its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "doctor/machine/host_facts.hpp"
#include "doctor/machine/system_text.hpp"
#include "temporary_folder.hpp"

namespace dinoxx::doctor {
namespace {

using testing::ElementsAre;
using testing::Optional;

TEST(CpuList, IsReadAndWritten) {
  EXPECT_THAT(parse_cpu_list("0-3,8,10-11\n"), Optional(ElementsAre(0, 1, 2, 3, 8, 10, 11)));
  EXPECT_THAT(parse_cpu_list("5,1-2,2"), Optional(ElementsAre(1, 2, 5)));
  EXPECT_THAT(parse_cpu_list(" \n"), Optional(ElementsAre()));
  for (const char* text : {"a", "1-", "3-1", "1,,2", "-1", "0-99999999", "1 2"}) EXPECT_EQ(parse_cpu_list(text), std::nullopt) << text;
  EXPECT_EQ(cpu_list_text({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(cpu_list_text({}), "");
  EXPECT_EQ(cpu_list_text({7}), "7");
}

TEST(ControlGroups, SayHowManyCores) {
  EXPECT_DOUBLE_EQ(cores_of_cpu_max("150000 100000\n"), 1.5);
  EXPECT_DOUBLE_EQ(cores_of_cpu_max("max 100000\n"), 0);
  EXPECT_DOUBLE_EQ(cores_of_cpu_max(""), 0);
  EXPECT_DOUBLE_EQ(cores_of_cfs("400000\n", "100000\n"), 4);
  EXPECT_DOUBLE_EQ(cores_of_cfs("-1\n", "100000\n"), 0);
}

TEST(ControlGroups, AreFoundInEitherVersion) {
  EXPECT_EQ(group_of("0::/user.slice/a.scope\n", ""), "/user.slice/a.scope");
  EXPECT_EQ(group_of("4:cpu,cpuacct:/job_1\n3:cpuset:/slurm/job_1\n0::/x\n", "cpuset"), "/slurm/job_1");
  EXPECT_EQ(group_of("4:cpu,cpuacct:/job_1\n3:cpuset:/slurm\n", "cpuacct"), "/job_1");
  EXPECT_EQ(group_of("4:cpu,cpuacct:/job_1\n3:cpuset:/slurm\n", "cpu"), "/job_1");
  EXPECT_EQ(group_of("4:cpu,cpuacct:/job_1\n", "memory"), std::nullopt);
  EXPECT_EQ(group_of("", ""), std::nullopt);
}

TEST(SystemText, DriverRatesAndLinks) {
  EXPECT_EQ(driver_version("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:13:08 UTC 2025\nGCC 12.2.0\n"),
            "580.65.06");
  EXPECT_EQ(driver_version("no version here"), "");
  EXPECT_DOUBLE_EQ(megabits_of_rate("200 Gb/sec (4X HDR)\n"), 200e3);
  EXPECT_DOUBLE_EQ(megabits_of_rate("2.5 Gb/sec (1X SDR)"), 2500);
  EXPECT_DOUBLE_EQ(megabits_of_rate("unknown"), 0);
  EXPECT_NEAR(bytes_of_pcie("16.0 GT/s PCIe x16"), 31.5e9, 0.1e9);
  EXPECT_NEAR(bytes_of_pcie("2.5 GT/s PCIe x1"), 0.25e9, 1);
  EXPECT_DOUBLE_EQ(bytes_of_pcie("Unknown"), 0);
  EXPECT_EQ(value_of("Name:\tdinoxx\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n", "Cpus_allowed_list"), "0-1");
  EXPECT_EQ(value_of("Cpus_allowed_list:\t0-1\n", "Cpus_allowed"), "");
}

// The kernel's files of a machine that is not this one.
class Roots {
 public:
  Roots() : roots{folder_.path() / "proc", folder_.path() / "sys"} {}
  void put(const std::filesystem::path& below, const std::string& text) {
    const std::filesystem::path file = folder_.path() / below;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

 private:
  testing_support::TemporaryFolder folder_;

 public:
  SystemRoots roots;
};

TEST(HostFacts, OfAMachineOfTwoNodesAndAContainer) {
  unsetenv("SLURM_CPUS_ON_NODE");
  Roots there;
  there.put("proc/self/status", "Name:\tdinoxx\nCpus_allowed_list:\t4-7,12\n");
  there.put("proc/self/cgroup", "0::/job/step\n");
  there.put("sys/fs/cgroup/job/cpu.max", "600000 100000\n");
  there.put("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  there.put("sys/fs/cgroup/job/step/cpuset.cpus.effective", "4-7,12-15\n");
  there.put("sys/devices/system/cpu/online", "0-15\n");
  there.put("sys/devices/system/node/node0/cpulist", "0-7\n");
  there.put("sys/devices/system/node/node1/cpulist", "8-15\n");
  there.put("sys/class/net/lo/operstate", "up\n");
  there.put("sys/class/net/eth0/operstate", "up\n");
  there.put("sys/class/net/eth0/speed", "25000\n");
  there.put("sys/class/net/eth1/operstate", "down\n");
  there.put("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n");
  there.put("sys/class/infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)\n");
  const HostFacts facts = host_facts({}, there.roots);
  EXPECT_THAT(facts.cpus, ElementsAre(4, 5, 6, 7, 12));
  EXPECT_EQ(facts.online, 16);
  EXPECT_EQ(facts.allocated, 8);
  EXPECT_DOUBLE_EQ(facts.quota, 6);  // of the group above
  ASSERT_EQ(facts.numa.size(), 2u);
  EXPECT_EQ(facts.numa[1].front(), 8);
  using testing::Pair;
  EXPECT_THAT(facts.links, ElementsAre(Pair("eth0", 25000), Pair("mlx5_0:1", 400000)));
  EXPECT_THAT(facts.rdma, ElementsAre("mlx5_0"));
  // what goes to the other ranks comes back
  const HostFacts copy = facts_of(json_of(facts));
  EXPECT_EQ(json_of(copy), json_of(facts));
  EXPECT_EQ(copy.links, facts.links);
  // in a batch job that has less
  setenv("SLURM_CPUS_ON_NODE", "4", 1);
  EXPECT_EQ(host_facts({}, there.roots).allocated, 4);
  unsetenv("SLURM_CPUS_ON_NODE");
}

TEST(HostFacts, SayWhatCouldNotBeLookedAt) {
  unsetenv("SLURM_CPUS_ON_NODE");
  Roots nothing;
  const HostFacts facts = host_facts({}, nothing.roots);
  EXPECT_TRUE(facts.cpus.empty());
  EXPECT_EQ(facts.allocated, 0);
  EXPECT_DOUBLE_EQ(facts.quota, 0);
  EXPECT_THAT(facts.unknown, testing::Contains(testing::HasSubstr("NUMA nodes")));
  EXPECT_THAT(facts.unknown, testing::Contains(testing::HasSubstr("Cpus_allowed_list")));
}

}  // namespace
}  // namespace dinoxx::doctor
