#include "collectives.hpp"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "comm/probe/roll_call.hpp"

namespace dinoxx::doctor {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void wait_for(at::Device device) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Runs one collective on its tensors.
class Trial {
 public:
  Trial(Communicator& comm, at::Device device, Collective collective, int64_t bytes, double patience)
      : comm_(comm), device_(device), collective_(collective), patience_(patience) {
    const auto options = at::TensorOptions(at::kFloat).device(device);
    const int64_t part = std::max<int64_t>(bytes / 4 / comm.size(), 1);
    whole_ = at::zeros({part * comm.size()}, options);
    part_ = at::zeros({part}, options);
    signal_ = at::zeros({1}, options);
  }
  int64_t bytes() const { return static_cast<int64_t>(whole_.nbytes()); }
  // Seconds on this rank, from a common start.
  double run() {
    wait_with_patience(comm_, *comm_.all_reduce(signal_, ReduceOp::kMax), patience_);  // in the place of a barrier, which knows no patience
    wait_for(device_);
    const double start = now();
    wait_with_patience(comm_, *work(), patience_);
    wait_for(device_);
    return now() - start;
  }

 private:
  std::unique_ptr<Work> work() {
    switch (collective_) {
      case Collective::kReduceScatter:
        return comm_.reduce_scatter(part_, whole_);
      case Collective::kAllGather:
        return comm_.all_gather(whole_, part_);
      case Collective::kBroadcast:
        return comm_.broadcast(whole_, 0);
      default:
        return comm_.all_reduce(whole_, ReduceOp::kSum);
    }
  }
  Communicator& comm_;
  at::Device device_;
  Collective collective_;
  double patience_;
  at::Tensor whole_, part_, signal_;
};

// The largest of all ranks, for each value.
std::vector<double> slowest(Communicator& comm, at::Device device, const std::vector<double>& mine, double patience = kPatience) {
  at::Tensor values = at::tensor(mine, at::kDouble).to(device);
  wait_with_patience(comm, *comm.all_reduce(values, ReduceOp::kMax), patience);
  wait_for(device);
  const at::Tensor host = values.to(at::kCPU);
  return {host.data_ptr<double>(), host.data_ptr<double>() + host.numel()};
}

}  // namespace

void wait_with_patience(Communicator& comm, Work& work, double patience) {
  constexpr double kForAnswers = 3;  // seconds that ranks may have begun to wait one after another
  const double end = now() + patience;
  while (!work.test()) {
    if (now() < end) continue;
    std::vector<int> absent = absent_ranks(kForAnswers);
    if (comm.rank() != 0) break;
    throw NoAnswer(fmt::format("a collective of {} ranks: expected it to end within {:.0f} s, found it unfinished", comm.size(), patience),
                   std::move(absent));
  }
  work.wait();
}

const char* collective_name(Collective collective) {
  constexpr const char* kNames[] = {"all-reduce", "reduce-scatter", "all-gather", "broadcast"};
  return kNames[static_cast<size_t>(collective)];
}

double bus_factor(Collective collective, int ranks) {
  const double n = ranks;
  if (collective == Collective::kBroadcast) return 1;
  return (collective == Collective::kAllReduce ? 2 : 1) * (n - 1) / n;
}

std::vector<int64_t> collective_sizes(at::Device device) {
  if (device.is_cuda()) return {1 << 10, 4 << 20, 256 << 20};
  return {1 << 10, 1 << 20, 32 << 20};
}

CollectiveTime time_collective(Communicator& comm, at::Device device, Collective collective, int64_t bytes, double seconds,
                               double patience) {
  constexpr int kLeast = 3, kMost = 50;
  Trial trial(comm, device, collective, bytes, patience);
  trial.run();  // connections, buffers
  const double once = slowest(comm, device, {trial.run()}, patience).front();
  const int repetitions = once > 0 ? std::clamp(static_cast<int>(seconds / once), kLeast, kMost) : kMost;
  std::vector<double> times;
  times.reserve(static_cast<size_t>(repetitions));
  for (int i = 0; i < repetitions; ++i) times.push_back(trial.run());
  return {collective, comm.size(), trial.bytes(), median(slowest(comm, device, times, patience))};
}

double copy_rate(Communicator& comm, at::Device device) {
  constexpr int64_t kBytes = 32 << 20;
  const at::Tensor from = at::ones({kBytes}, at::kByte), to = at::zeros({kBytes}, at::kByte);
  comm.barrier();
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = now();
    std::memcpy(to.data_ptr(), from.data_ptr(), kBytes);
    least = std::min(least, now() - start);
  }
  return static_cast<double>(kBytes) / slowest(comm, device, {least}).front();
}

std::vector<PairTime> time_pairs(Communicator& comm, at::Device device, const std::vector<int>& ranks, int64_t bytes, double patience) {
  constexpr double kSeconds = 0.1, kEver = 1e9;  // the ranks outside the pair have the patience
  std::vector<PairTime> pairs;
  for (size_t i = 0; i < ranks.size(); ++i)
    for (size_t j = i + 1; j < ranks.size(); ++j) pairs.push_back({ranks[i], ranks[j], bytes, 0});
  const auto measure = [&](PairTime& pair) {
    const bool mine = comm.rank() == pair.first || comm.rank() == pair.second;
    const std::shared_ptr<Communicator> group = comm.split(mine ? 1 : 0, comm.rank());
    const double bandwidth = mine ? time_collective(*group, device, Collective::kAllReduce, bytes, kSeconds, kEver).bus_bandwidth() : 0;
    pair.bandwidth = std::max(pair.bandwidth, slowest(comm, device, {bandwidth}, patience).front());  // of the two that measured
  };
  for (PairTime& pair : pairs) measure(pair);
  for (const PairTime& slow : slow_pairs(pairs))  // a disturbance is not there twice
    for (PairTime& pair : pairs)
      if (pair.first == slow.first && pair.second == slow.second) measure(pair);
  return pairs;
}

}  // namespace dinoxx::doctor
