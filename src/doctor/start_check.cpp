#include "start_check.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/json_text.hpp"
#include "base/machine.hpp"
#include "comm/agree.hpp"
#include "comm/gather.hpp"
#include "comm/gpu.hpp"
#include "doctor/machine/machine_findings.hpp"

namespace dinoxx::doctor {
namespace {

// "4" or "2 to 4" of values of all ranks.
std::string span_text(double least, double most) {
  const std::string low = cores_text(least), high = cores_text(most);
  return low == high ? low : fmt::format("{} to {}", low, high);
}

}  // namespace

std::string machine_line(const RankMap& map) {
  const std::vector<double> cores = cores_of_ranks(map);
  const auto [least, most] = std::minmax_element(cores.begin(), cores.end());
  std::map<std::string, int> models;
  for (const HostFacts& facts : map)
    if (facts.on_gpu) ++models[facts.gpu_name];
  std::vector<std::string> gpus;
  gpus.reserve(models.size());
  for (const auto& [name, count] : models) gpus.push_back(fmt::format("{} x {}", count, name));
  const HostFacts& first = map.front();
  return fmt::format("machine: {} on {}, {}{} {}{}; {} compute and {} loader {}{}", counted(map.size(), "rank"),
                     counted(hosts_of(map).size(), "host"), gpus.empty() ? "" : fmt::format("{}, ", fmt::join(gpus, " and ")),
                     *least > 0 ? span_text(*least, *most) : "an unknown number of",
                     *least > 0 && cores_text(*most) == "1" ? "core" : "cores", map.size() > 1 ? " each" : "", first.threads, first.workers,
                     first.workers == 1 ? "thread" : "threads", map.size() > 1 ? " each" : "");
}

std::vector<std::string> start_lines(Communicator& comm, const Process& process, const RunNeeds& needs) {
  HostFacts mine = host_facts(process);
  mine.threads = needs.threads;
  mine.workers = needs.workers;
  mine.own_workers = needs.own_workers;
  mine.on_gpu = needs.on_gpu;
  if (!needs.on_gpu) mine.gpus = 0, mine.gpu = -1, mine.gpu_id.clear();  // what the run does not use
  const RankMap map = gather_facts(comm, mine);
  if (comm.rank() != 0) return {};
  std::vector<std::string> lines{machine_line(map)};
  Verdict verdict;
  verdict.add(machine_findings(map));
  for (const Finding& finding : verdict.findings)
    if (finding.severity >= Severity::kWarn) lines.push_back("warning: " + sentence(finding));
  return lines;
}

void refuse_shared_gpus(Communicator& comm, const Process& process) {
  const GpuIdentity identity = gpu_identity(process.gpu);
  HostFacts mine;
  mine.rank = process.rank;
  mine.host = host_name();
  mine.gpus = 1;
  mine.gpu = process.gpu;
  mine.gpu_name = identity.name;
  mine.gpu_address = identity.address;
  mine.gpu_id = identity.id;
  const RankMap map = gather_facts(comm, mine);
  on_all_ranks(comm, [&] {
    for (const Finding& finding : gpu_findings(map))
      if (finding.severity == Severity::kFault) fail_usage(finding.subject, finding.expected, finding.found, finding.advice);
  });
}

}  // namespace dinoxx::doctor
