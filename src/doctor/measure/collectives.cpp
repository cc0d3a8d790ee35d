#include "collectives.hpp"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <cstring>

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
  Trial(Communicator& comm, at::Device device, Collective collective, int64_t bytes) : comm_(comm), device_(device), collective_(collective) {
    const auto options = at::TensorOptions(at::kFloat).device(device);
    const int64_t part = std::max<int64_t>(bytes / 4 / comm.size(), 1);
    whole_ = at::zeros({part * comm.size()}, options);
    part_ = at::zeros({part}, options);
  }
  int64_t bytes() const { return static_cast<int64_t>(whole_.nbytes()); }
  // Seconds on this rank, from a common start.
  double run() {
    comm_.barrier();
    const double start = now();
    work()->wait();
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
  at::Tensor whole_, part_;
};

// The largest of all ranks, for each value.
std::vector<double> slowest(Communicator& comm, at::Device device, const std::vector<double>& mine) {
  at::Tensor values = at::tensor(mine, at::kDouble).to(device);
  comm.all_reduce(values, ReduceOp::kMax)->wait();
  wait_for(device);
  const at::Tensor host = values.to(at::kCPU);
  return {host.data_ptr<double>(), host.data_ptr<double>() + host.numel()};
}

}  // namespace

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

CollectiveTime time_collective(Communicator& comm, at::Device device, Collective collective, int64_t bytes, double seconds) {
  constexpr int kLeast = 3, kMost = 50;
  Trial trial(comm, device, collective, bytes);
  trial.run();  // connections, buffers
  const double once = slowest(comm, device, {trial.run()}).front();
  const int repetitions = once > 0 ? std::clamp(static_cast<int>(seconds / once), kLeast, kMost) : kMost;
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) times.push_back(trial.run());
  return {collective, comm.size(), trial.bytes(), median(slowest(comm, device, times))};
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

std::vector<PairTime> time_pairs(Communicator& comm, at::Device device, const std::vector<int>& ranks, int64_t bytes) {
  constexpr double kSeconds = 0.1;
  std::vector<PairTime> pairs;
  for (size_t i = 0; i < ranks.size(); ++i)
    for (size_t j = i + 1; j < ranks.size(); ++j) pairs.push_back({ranks[i], ranks[j], bytes, 0});
  const auto measure = [&](PairTime& pair) {
    const bool mine = comm.rank() == pair.first || comm.rank() == pair.second;
    const std::shared_ptr<Communicator> group = comm.split(mine ? 1 : 0, comm.rank());
    const double bandwidth =
        mine ? time_collective(*group, device, Collective::kAllReduce, bytes, kSeconds).bus_bandwidth() : 0;
    pair.bandwidth = std::max(pair.bandwidth, slowest(comm, device, {bandwidth}).front());  // of the two that measured
  };
  for (PairTime& pair : pairs) measure(pair);
  for (const PairTime& slow : slow_pairs(pairs))  // a disturbance is not there twice
    for (PairTime& pair : pairs)
      if (pair.first == slow.first && pair.second == slow.second) measure(pair);
  return pairs;
}

}  // namespace dinoxx::doctor
