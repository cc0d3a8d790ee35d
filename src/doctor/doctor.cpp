// The examination from its first question to the verdict, in the order in which a fault of one part would spoil the next.
#include "doctor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "comm/agree.hpp"
#include "comm/gpu.hpp"
#include "comm/nccl_communicator.hpp"
#include "comm/probe/roll_call.hpp"
#include "dinoxx/base/error.hpp"
#include "doctor/machine/machine_findings.hpp"
#include "doctor/machine/system_text.hpp"
#include "report.hpp"

namespace dinoxx::doctor {
namespace {

constexpr double kMeasuring = 30;  // seconds that a stage with measurements may take beyond the patience

class Examination {
 public:
  Examination(const Options& options, StageWatch& watch)
      : options_(options), watch_(watch), report_(options.process.rank == 0, options.json) {}

  int run() {
    watch_.begin("the first answers of all ranks", options_.patience);
    everyone_is_there();
    control_ = options_.make_communicator();
    if (!options_.data.empty()) refuse_no_data(*control_, options_.data);
    if (!options_.run.empty()) refuse_no_folder(*control_, options_.run);
    look_at_ranks();
    look_at_hosts();
    name_the_absent([this] { measure_links(); });
    measure_folders();
    take_a_step();
    watch_.begin("the verdict", options_.patience);
    verdict_.add(machine_findings(map_, shards_));
    report_.end(verdict_);
    control_->barrier();
    return verdict_.exit_code();
  }

 private:
  // Rank 0 throws, and has to abort the others.
  void everyone_is_there() {
    const double seconds = options_.patience / 2;  // before the watch of the others speaks
    const std::vector<int> absent = absent_ranks(seconds);
    if (absent.empty()) return;
    fail(map_.empty() ? fmt::format("{} {}", absent.size() == 1 ? "rank" : "ranks", cpu_list_text(absent)) : ranks_in_words(map_, absent),
         fmt::format("an answer within {:.0f} s", seconds), "none",
         "Look at the host: is it up, does the process run, does its network reach the others");
  }

  // The same for who stops in the middle of a measurement.
  void name_the_absent(const std::function<void()>& work) {
    try {
      work();
    } catch (const NoAnswer& error) {
      fail(error.ranks().empty() ? "the network between the ranks" : ranks_in_words(map_, error.ranks()),
           fmt::format("an end of each collective within {:.0f} s", options_.patience),
           error.ranks().empty() ? "that all ranks answer, and one has not ended" : "no answer",
           "Look at the host: is it up, does the process run, does its network reach the others");
    }
  }

  void stage(const char* name) {
    watch_.begin(name, options_.patience + kMeasuring);
    everyone_is_there();
  }

  void look_at_ranks() {
    HostFacts mine = host_facts(options_.process);
    mine.threads = options_.threads;
    mine.on_gpu = mine.gpu >= 0;
    mine.workers = std::max(1, mine.on_gpu ? mine.threads - 2 : mine.threads / 8);
    map_ = gather_facts(*control_, mine);
    const std::vector<std::string> doubled = doubled_libraries();
    report_.versions(versions(options_.process.build), doubled);
    for (const std::string& line : doubled)
      verdict_.add({Severity::kWarn, "libraries in the process", "one of each", "two of " + line,
                    "Clear LD_LIBRARY_PATH and LD_PRELOAD, and look which modules are loaded"});
    report_.processor(mine);
    report_.ranks(map_);
  }

  void look_at_hosts() {
    watch_.begin("the clocks", options_.patience);
    std::vector<int> firsts;
    for (const HostRanks& host : hosts_of(map_)) firsts.push_back(host.ranks.front());
    const std::vector<ClockOffset> clocks = clock_offsets(*control_, firsts, wall_clock);
    report_.hosts(map_, clocks);
    verdict_.add(clock_findings(map_, clocks));
  }

  // The device of training, where all ranks have one of their own.
  void choose_device() {
    gradients_ = options_.make_communicator();
    statistics_ = options_.make_communicator();
    const bool all = std::all_of(map_.begin(), map_.end(), [](const HostFacts& f) { return f.gpu >= 0; });
    const std::vector<Finding> findings = gpu_findings(map_);
    const bool faults = std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.severity == Severity::kFault; });
    if (faults) report_.left_out("collectives and a step on the GPUs: their faults come first; measured is what the CPUs do");
    if (!all || faults) return;
    const int gpu = map_[static_cast<size_t>(options_.process.rank)].gpu;
    try {
      on_all_ranks(*control_, [&] { use_gpu(gpu, "train.device"); });
      on_all_ranks(*control_, [&] { gradients_ = make_nccl_communicator(control_, gpu); });
      statistics_ = gradients_->split(0, control_->rank());
      device_ = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(gpu));
    } catch (const AgreedError& error) {
      verdict_.add({Severity::kFault, "NCCL", "a communicator of all ranks", error.what(), "NCCL_DEBUG=INFO says more"});
      report_.left_out("collectives and a step on the GPUs: NCCL did not start; measured is what the CPUs do");
      gradients_ = options_.make_communicator();
    }
  }

  void measure_links() {
    stage("the collectives");
    choose_device();
    if (map_.size() < 2) return report_.left_out("collectives: there is one rank (start with mpirun or srun)");
    const double copies = copy_rate(*control_, at::kCPU);
    const LinkPromise promise = link_promise(map_, copies);
    report_.begin_collectives(gradients_->name(), promise, copies);
    std::vector<CollectiveTime> times;
    for (const Collective collective : kCollectives) {
      double rate = 0;
      for (const int64_t bytes : collective_sizes(device_)) {
        watch_.begin(fmt::format("{} of {} bytes", collective_name(collective), bytes), options_.patience + kMeasuring);
        times.push_back(
            time_collective(*gradients_, device_, collective, affordable(bytes, rate), kSecondsOfCollective, options_.patience));
        rate = times.back().algorithm_bandwidth();
        report_.collective(times.back());
      }
    }
    const std::vector<PairTime> pairs = measure_pairs();
    verdict_.add(network_findings(map_, times, promise, pairs));
  }

  // A size that takes at most a second or so at this rate: the same on all ranks, because the times are.
  static int64_t affordable(int64_t bytes, double rate) {
    while (rate > 0 && bytes > (1 << 20) && static_cast<double>(bytes) / rate > kLongestCollective) bytes /= 2;
    return bytes;
  }

  std::vector<PairTime> measure_pairs() {
    constexpr size_t kMost = 16;  // 120 pairs
    constexpr int64_t kBytes = 4 << 20;
    std::vector<int> ranks;
    for (const HostRanks& host : hosts_of(map_)) {
      if (hosts_of(map_).size() > 1 || !device_.is_cuda())
        ranks.push_back(host.ranks.front());
      else
        ranks = host.ranks;
    }
    if (ranks.size() < 3) return {};
    if (ranks.size() > kMost) {
      report_.left_out(fmt::format("pairs behind the first {} of {} hosts or GPUs", kMost, ranks.size()));
      ranks.resize(kMost);
    }
    watch_.begin("the pairs", options_.patience + kMeasuring);
    std::vector<PairTime> pairs = time_pairs(*gradients_, device_, ranks, kBytes, options_.patience);
    report_.pairs(map_, pairs);
    return pairs;
  }

  void measure_folders() {
    constexpr double kReading = 2, kWriting = 1;  // seconds
    stage("the folders");
    if (options_.data.empty()) {
      report_.left_out("the data folder: name it by --data");
    } else {
      const ReadRate rate = read_rate(*control_, options_.data, kReading);
      shards_ = rate.shards;
      report_.read(options_.data, rate);
      verdict_.add(read_findings(map_, options_.data, rate));
    }
    if (options_.run.empty()) return report_.left_out("the run folder: name it by --run");
    const WriteRate rate = write_rate(*control_, options_.run, kWriting);
    report_.written(options_.run, rate);
    verdict_.add(write_findings(map_, options_.run, rate));
  }

  void take_a_step() {
    stage("a training step");
    const TrialStep step = trial_step({control_, gradients_, statistics_}, device_, options_.threads);
    report_.step(step);
    verdict_.add(step_findings(step));
  }

  static constexpr double kSecondsOfCollective = 0.3, kLongestCollective = 1.5;
  const Options& options_;
  StageWatch& watch_;
  Report report_;
  Verdict verdict_;
  RankMap map_;
  std::shared_ptr<Communicator> control_, gradients_, statistics_;
  at::Device device_ = at::kCPU;
  int64_t shards_ = 0;
};

}  // namespace

int examine(const Options& options, StageWatch& watch) {
  return Examination(options, watch).run();
}

}  // namespace dinoxx::doctor
