#include "host_facts.hpp"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "base/machine.hpp"
#include "comm/gpu.hpp"
#include "kernels/cpu_level.hpp"
#include "system_text.hpp"
#include "versions.hpp"

namespace dinoxx::doctor {
namespace {

namespace fs = std::filesystem;

// A small file of the kernel; empty when it cannot be read.
std::string content(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code ignored;
  for (fs::directory_iterator at(folder, ignored), end; !ignored && at != end; at.increment(ignored)) paths.push_back(at->path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string first_line(std::string text) {
  return text.substr(0, text.find('\n'));
}

int number_in_environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::max(std::atoi(text), 0) : 0;
}

// Bottom up, because every group above may have a limit, too. In a container the path may be one of the host, that is not there.
double quota_of_groups(const SystemRoots& roots) {
  const std::string membership = content(roots.proc / "self/cgroup");
  const fs::path mounted = roots.sys / "fs/cgroup";
  double least = 0;
  const auto look = [&](double cores) {
    if (cores > 0) least = least > 0 ? std::min(least, cores) : cores;
  };
  const auto upwards = [](const std::string& group, const auto& see) {
    for (fs::path below = fs::path(group).relative_path();; below = below.parent_path()) {
      see(below);
      if (below.empty()) return;
    }
  };
  upwards(group_of(membership, "").value_or(""),
          [&](const fs::path& group) { look(cores_of_cpu_max(content(mounted / group / "cpu.max"))); });
  upwards(group_of(membership, "cpu").value_or(""), [&](const fs::path& group) {
    const fs::path folder = mounted / "cpu" / group;
    look(cores_of_cfs(content(folder / "cpu.cfs_quota_us"), content(folder / "cpu.cfs_period_us")));
  });
  return least;
}

// Cores of the control group and of Slurm's job on this machine; 0 when neither tells.
int allocated_cores(const SystemRoots& roots) {
  const std::string membership = content(roots.proc / "self/cgroup");
  const fs::path mounted = roots.sys / "fs/cgroup";
  const fs::path v2 = mounted / fs::path(group_of(membership, "").value_or("")).relative_path(),
                 v1 = mounted / "cpuset" / fs::path(group_of(membership, "cpuset").value_or("")).relative_path();
  int cores = 0;
  for (const fs::path& file : {v2 / "cpuset.cpus.effective", mounted / "cpuset.cpus.effective", v1 / "cpuset.effective_cpus",
                               v1 / "cpuset.cpus", mounted / "cpuset/cpuset.effective_cpus"}) {
    const auto list = parse_cpu_list(content(file));
    if (!list || list->empty()) continue;
    cores = static_cast<int>(list->size());
    break;
  }
  const int slurm = number_in_environment("SLURM_CPUS_ON_NODE");
  return slurm > 0 && cores > 0 ? std::min(slurm, cores) : std::max(slurm, cores);
}

Limit limit_of(decltype(RLIMIT_CORE) which) {
  rlimit limit{};
  if (::getrlimit(which, &limit) != 0) return {};
  const auto value = [](rlim_t bytes) { return bytes == RLIM_INFINITY ? int64_t{-1} : static_cast<int64_t>(bytes); };
  return {value(limit.rlim_cur), value(limit.rlim_max)};
}

std::string launcher() {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") && std::getenv("OMPI_MCA_ess_base_jobid")) return "mpirun";
  if (std::getenv("SLURM_STEP_ID")) return "srun";
  if (std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMIX_RANK")) return "mpirun";
  return std::getenv("PMI_SIZE") ? "another launcher" : "";
}

void look_at_cores(HostFacts& facts, const SystemRoots& roots) {
  const auto list = parse_cpu_list(value_of(content(roots.proc / "self/status"), "Cpus_allowed_list"));
  if (list && !list->empty())
    facts.cpus = *list;
  else
    facts.unknown.push_back("the cores that the process is bound to: no Cpus_allowed_list in /proc/self/status");
  facts.online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  if (const auto online = parse_cpu_list(content(roots.sys / "devices/system/cpu/online")); online && !online->empty())
    facts.online = static_cast<int>(online->size());
  facts.allocated = allocated_cores(roots);
  facts.quota = quota_of_groups(roots);
  for (int node = 0;; ++node) {
    const fs::path file = roots.sys / "devices/system/node" / ("node" + std::to_string(node)) / "cpulist";
    std::error_code ignored;
    if (!fs::exists(file, ignored)) break;
    facts.numa.push_back(parse_cpu_list(content(file)).value_or(std::vector<int>()));
  }
  if (facts.numa.empty()) facts.unknown.push_back("NUMA nodes: nothing in /sys/devices/system/node");
}

void look_at_gpu(HostFacts& facts, int taken, const SystemRoots& roots) {
  facts.gpus_unusable = unusable_gpus();
  facts.gpus = visible_gpus();
  if (facts.gpus == 0) return;
  const int gpu = taken >= 0 ? taken : facts.gpus == 1 ? 0 : facts.local_rank;  // as choose_device()
  if (gpu >= facts.gpus) return;
  facts.gpu = gpu;
  const GpuIdentity identity = gpu_identity(gpu);
  facts.gpu_name = identity.name;
  facts.gpu_address = identity.address;
  facts.gpu_id = identity.id;
  const fs::path device = roots.sys / "bus/pci/devices" / identity.address;
  const std::string node = first_line(content(device / "numa_node"));
  if (!node.empty()) facts.gpu_numa = std::atoi(node.c_str());
  const auto link = [&](const char* kind) {
    const std::string speed = first_line(content(device / (std::string(kind) + "_link_speed"))),
                      width = first_line(content(device / (std::string(kind) + "_link_width")));
    return speed.empty() || width.empty() ? std::string() : speed + " x" + width;
  };
  facts.pcie = link("current");
  facts.pcie_best = link("max");
  if (facts.pcie.empty()) facts.unknown.push_back("the PCIe link of the GPU: nothing in /sys/bus/pci");
}

void look_at_links(HostFacts& facts, const SystemRoots& roots) {
  for (const fs::path& interface : entries(roots.sys / "class/net")) {
    const std::string name = interface.filename().string();
    if (name == "lo" || first_line(content(interface / "operstate")) != "up") continue;
    const int megabits = std::atoi(content(interface / "speed").c_str());
    facts.links.emplace_back(name, std::max(megabits, 0));
  }
  for (const fs::path& device : entries(roots.sys / "class/infiniband")) {
    facts.rdma.push_back(device.filename().string());
    for (const fs::path& port : entries(device / "ports"))
      if (content(port / "state").find("ACTIVE") != std::string::npos)
        facts.links.emplace_back(device.filename().string() + ":" + port.filename().string(), megabits_of_rate(content(port / "rate")));
  }
}

void look_at_limits(HostFacts& facts) {
  facts.files = limit_of(RLIMIT_NOFILE);
  facts.locked_memory = limit_of(RLIMIT_MEMLOCK);
  facts.core_size = limit_of(RLIMIT_CORE);
  facts.processes = limit_of(RLIMIT_NPROC);
  struct statvfs shm {};
  if (::statvfs("/dev/shm", &shm) == 0) {
    facts.shm_size = static_cast<int64_t>(shm.f_blocks) * static_cast<int64_t>(shm.f_frsize);
    facts.shm_free = static_cast<int64_t>(shm.f_bavail) * static_cast<int64_t>(shm.f_frsize);
  } else {
    facts.unknown.push_back("shared memory: no /dev/shm");
  }
  facts.memory_free = available_memory();
  if (facts.memory_free == 0) facts.unknown.push_back("free memory: nothing in /proc/meminfo");
}

}  // namespace

HostFacts host_facts(const Process& process, const SystemRoots& roots) {
  HostFacts facts;
  facts.rank = process.rank;
  facts.local_rank = process.local_rank;
  facts.host = host_name();
  facts.launcher = launcher();
  facts.cpu_model = cpu_model();
  facts.cpu_features = processor_features();
  facts.simd = level_name(cpu_level());
  look_at_cores(facts, roots);
  look_at_gpu(facts, process.gpu, roots);
  look_at_links(facts, roots);
  look_at_limits(facts);
  for (const Version& version : versions(process.build))
    if (version.common) facts.versions.emplace_back(version.name, version.value);
  return facts;
}

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Limit, soft, hard)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HostFacts, rank, local_rank, host, launcher, cpus, online, allocated, quota, numa, cpu_model,
                                   cpu_features, simd, gpus, gpu, gpu_name, gpu_address, gpu_id, gpu_numa, gpus_unusable, pcie, pcie_best,
                                   threads, workers, own_workers, on_gpu, files, locked_memory, core_size, processes, shm_size, shm_free,
                                   memory_free, rdma, links, versions, unknown)

nlohmann::json json_of(const HostFacts& facts) {
  return facts;
}

HostFacts facts_of(const nlohmann::json& json) {
  return json.get<HostFacts>();
}

}  // namespace dinoxx::doctor
