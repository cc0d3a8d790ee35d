#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/json_text.hpp"
#include "base/machine.hpp"
#include "kernels/families.hpp"

namespace dinoxx::doctor {
namespace {

using nlohmann::json;

std::string limit_text(const Limit& limit, bool bytes) {
  const auto text = [&](int64_t value) {
    return value < 0             ? std::string("unlimited")
           : bytes && value == 0 ? std::string("none")
           : bytes               ? human_bytes(static_cast<double>(value))
                                 : std::to_string(value);
  };
  return limit.soft == limit.hard ? text(limit.soft) : fmt::format("{} (up to {})", text(limit.soft), text(limit.hard));
}

std::string size_text(int64_t bytes) {
  return bytes < 0 ? "unknown" : human_bytes(static_cast<double>(bytes));
}

std::string message_size(int64_t bytes) {
  const double kib = static_cast<double>(bytes) / (1 << 10);  // a multiple of the ranks: a little less than a round number
  return kib > 1000 ? fmt::format("{:.3g} MiB", kib / 1024) : fmt::format("{:.3g} KiB", kib);
}

}  // namespace

void Report::title(const std::string& text) {
  if (prints_) fmt::print("{}\n", text);
}

void Report::line(const std::string& text) {
  if (!prints_) return;
  fmt::print("  {}\n", text);
  std::fflush(stdout);  // a person watches, and what comes next may take its time
}

void Report::versions(const std::vector<Version>& versions, const std::vector<std::string>& doubled) {
  title("versions");
  for (const Version& version : versions) {
    line(fmt::format("{:<10} {}{}", version.name, version.value, version.file.empty() ? "" : "  " + version.file));
    document_["versions"].push_back({{"name", version.name}, {"version", version.value}, {"file", version.file}});
  }
  document_["doubled_libraries"] = doubled;
}

void Report::processor(const HostFacts& facts) {
  title("processor");
  line(fmt::format("{:<10} {}", "model", facts.cpu_model));
  line(fmt::format("{:<10} {}", "features", facts.cpu_features));
  line(fmt::format("{:<10} {}", "kernels", simd_in_words()));
  json& kernels = document_["kernels"] = json::array();
  for (const KernelFamily& family : kernel_families()) {
    const char* level = family.level ? level_name(*family.level) : "LibTorch";
    line(fmt::format("  {:<26} {}", family.name, level));
    kernels.push_back({{"family", family.name}, {"level", level}});
  }
}

void Report::ranks(const RankMap& map) {
  title(fmt::format("ranks: {} on {}", map.size(), counted(hosts_of(map).size(), "host")));
  for (const std::string& row : rank_table(map)) line(row);
  const std::vector<double> cores = cores_of_ranks(map);
  for (const HostFacts& facts : map) {
    json rank = json_of(facts);
    rank["cores"] = cores[static_cast<size_t>(facts.rank)];
    document_["ranks"].push_back(rank);
    for (const std::string& what : facts.unknown) left_out(fmt::format("{}: {}", ranks_in_words(map, {facts.rank}), what));
  }
}

void Report::hosts(const RankMap& map, const std::vector<ClockOffset>& clocks) {
  title("hosts");
  for (const HostRanks& host : hosts_of(map)) {
    const HostFacts& facts = map[static_cast<size_t>(host.ranks.front())];
    line(fmt::format("{}: {} cores, {} of them for the job{}; {} of memory free; /dev/shm {} free of {}", host.host, facts.online,
                     cores_of_job(facts), facts.quota > 0 ? fmt::format(", a quota of {}", cores_text(facts.quota)) : "",
                     size_text(facts.memory_free), size_text(facts.shm_free), size_text(facts.shm_size)));
    line(fmt::format("  open files {}, locked memory {}, core dumps {}, processes {}", limit_text(facts.files, false),
                     limit_text(facts.locked_memory, true), limit_text(facts.core_size, true), limit_text(facts.processes, false)));
  }
  json& array = document_["clocks"] = json::array();
  for (const ClockOffset& clock : clocks) {
    const std::string& host = map[static_cast<size_t>(clock.rank)].host;
    array.push_back({{"rank", clock.rank}, {"host", host}, {"seconds", clock.seconds}, {"uncertainty", clock.uncertainty}});
    if (clock.rank != 0)
      line(fmt::format("clock of {}: {} {} {}, +- {}", host, duration_text(std::abs(clock.seconds)),
                       clock.seconds < 0 ? "behind" : "ahead of", map.front().host, duration_text(clock.uncertainty)));
  }
}

void Report::begin_collectives(const std::string& back_end, const LinkPromise& promise, double copies) {
  title(fmt::format("collectives over {}; the links: {}", back_end,
                    promise.bandwidth > 0 ? fmt::format("{} ({})", rate_text(promise.bandwidth), promise.what) : promise.what));
  line(fmt::format("{:<15} {:>10} {:>10} {:>12} {:>12}", "", "bytes", "time", "algorithm", "bus"));
  document_["links"] = {{"bytes_a_second", promise.bandwidth}, {"what", promise.what}};
  document_["memory_copies_bytes_a_second"] = copies;
  document_["back_end"] = back_end;
  document_["collectives"] = json::array();
}

void Report::collective(const CollectiveTime& time) {
  line(fmt::format("{:<15} {:>10} {:>10} {:>12} {:>12}", collective_name(time.collective), message_size(time.bytes),
                   duration_text(time.seconds), rate_text(time.algorithm_bandwidth()), rate_text(time.bus_bandwidth())));
  document_["collectives"].push_back({{"name", collective_name(time.collective)},
                                      {"ranks", time.ranks},
                                      {"bytes", time.bytes},
                                      {"seconds", time.seconds},
                                      {"algorithm_bytes_a_second", time.algorithm_bandwidth()},
                                      {"bus_bytes_a_second", time.bus_bandwidth()}});
}

void Report::pairs(const RankMap& map, const std::vector<PairTime>& pairs) {
  const std::vector<PairTime> slow = slow_pairs(pairs);
  const auto [least, most] =
      std::minmax_element(pairs.begin(), pairs.end(), [](const PairTime& a, const PairTime& b) { return a.bandwidth < b.bandwidth; });
  line(fmt::format("pairs, all-reduce of {}: {} to {}{}", message_size(pairs.front().bytes), rate_text(least->bandwidth),
                   rate_text(most->bandwidth), slow.empty() ? "" : fmt::format("; {} slow", slow.size())));
  json& array = document_["pairs"] = json::array();
  for (const PairTime& pair : pairs)
    array.push_back({{"ranks", {pair.first, pair.second}}, {"bytes", pair.bytes}, {"bus_bytes_a_second", pair.bandwidth}});
  for (const PairTime& pair : slow)
    line(fmt::format("  slow: {} and {}, {}", ranks_in_words(map, {pair.first}), ranks_in_words(map, {pair.second}),
                     rate_text(pair.bandwidth)));
}

void Report::read(const std::filesystem::path& data, const ReadRate& rate) {
  document_["read"] = {{"folder", data.string()},
                       {"error", rate.error},
                       {"shards", rate.shards},
                       {"images", rate.images},
                       {"images_a_second", rate.images_a_second},
                       {"bytes_a_second", rate.bytes_a_second},
                       {"slowest_rank", rate.slowest},
                       {"slowest_rank_images_a_second", rate.slowest_rank},
                       {"latency_90_seconds", rate.latency}};
  title("data folder " + data.string());
  if (!rate.error.empty()) return line("not read: " + rate.error);
  line(fmt::format("{} in {}; random order, one thread a rank, all ranks at once, cached pages dropped before",
                   counted(rate.images, "image"), counted(static_cast<size_t>(rate.shards), "shard")));
  line(fmt::format("{:.0f} images/s, {} together; slowest rank {}: {:.0f} images/s; nine of ten images within {}", rate.images_a_second,
                   rate_text(rate.bytes_a_second), rate.slowest, rate.slowest_rank, duration_text(rate.latency)));
}

void Report::written(const std::filesystem::path& run, const WriteRate& rate) {
  document_["write"] = {
      {"folder", run.string()},  {"error", rate.error},           {"bytes_a_second", rate.bytes_a_second}, {"sync_seconds", rate.sync},
      {"free_bytes", rate.free}, {"free_files", rate.free_files}, {"checkpoint_bytes", rate.checkpoint},   {"clock_seconds", rate.clock}};
  title("run folder " + run.string());
  if (!rate.error.empty()) return line("not written: " + rate.error);
  line(fmt::format("{} together with fsync; a small write and its fsync {}; {} free{}{}", rate_text(rate.bytes_a_second),
                   duration_text(rate.sync), human_bytes(static_cast<double>(rate.free)),
                   rate.free_files < 0 ? "" : fmt::format(", room for {} files", rate.free_files),
                   rate.checkpoint > 0 ? fmt::format("; a checkpoint is {}", human_bytes(static_cast<double>(rate.checkpoint))) : ""));
}

void Report::step(const TrialStep& step) {
  document_["step"] = {{"error", step.error}, {"seconds", step.seconds}, {"loss", step.loss}, {"batch", step.batch}};
  title("a training step on synthetic data");
  if (!step.error.empty()) return line("failed: " + step.error);
  line(fmt::format("{} images, loss {:.3f}, {}; the weights of all ranks are equal", step.batch, step.loss, duration_text(step.seconds)));
}

void Report::left_out(const std::string& what) {
  left_out_.push_back(what);
}

void Report::end(const Verdict& verdict) {
  if (!left_out_.empty()) title("not looked at");
  for (const std::string& what : left_out_) line(what);
  title(verdict.headline());
  json findings = json::array();
  for (const Finding& finding : verdict.findings) {
    line(finding_text(finding));
    findings.push_back(finding_json(finding));
  }
  if (!json_) return;
  document_["not_looked_at"] = left_out_;
  document_["verdict"] = severity_name(verdict.worst());
  document_["exit_code"] = verdict.exit_code();
  document_["findings"] = findings;
  fmt::print("{}\n", json_text(document_, 2));
}

}  // namespace dinoxx::doctor
