#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/communicator.hpp"
#include "doctor/finding.hpp"
#include "doctor/machine/rank_map.hpp"

namespace dinoxx::doctor {

enum class Collective { kAllReduce, kReduceScatter, kAllGather, kBroadcast };
inline constexpr Collective kCollectives[] = {Collective::kAllReduce, Collective::kReduceScatter, Collective::kAllGather,
                                              Collective::kBroadcast};
/// "all-reduce", "reduce-scatter", "all-gather", "broadcast".
const char* collective_name(Collective collective);

/// By what nccl-tests (doc/PERFORMANCE.md) multiplies the algorithm bandwidth, bytes / time, to compare with the speed of a link, whatever
/// the number of ranks n: 2 (n - 1) / n of an all-reduce, (n - 1) / n of a reduce-scatter and an all-gather, 1 of a broadcast.
double bus_factor(Collective collective, int ranks);

/// One collective at one size. The size is that of nccl-tests: of the whole buffer, for reduce-scatter its input, for all-gather its
/// output.
struct CollectiveTime {
  Collective collective = Collective::kAllReduce;
  int ranks = 1;
  int64_t bytes = 0;
  double seconds = 0;  ///< median of the repetitions, each as long as its slowest rank
  double algorithm_bandwidth() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }  ///< bytes a second
  double bus_bandwidth() const { return algorithm_bandwidth() * bus_factor(collective, ranks); }         ///< bytes a second
};

/// Sizes in bytes to measure on a device: one that shows latency, one of a gradient bucket, one that shows bandwidth.
std::vector<int64_t> collective_sizes(at::Device device);

/// Seconds to wait for one collective where nothing else is said.
inline constexpr double kPatience = 60;

/// A collective was not complete in time, and these ranks do not answer; none: they all do, and it hangs even so. Thrown on rank 0 alone,
/// who has to abort the others.
class NoAnswer : public Error {
 public:
  NoAnswer(const std::string& what, std::vector<int> ranks) : Error(what), ranks_(std::move(ranks)) {}
  const std::vector<int>& ranks() const { return ranks_; }

 private:
  std::vector<int> ranks_;
};

/// Waits for a collective, at most `patience` seconds. Then rank 0 looks who still answers, and throws NoAnswer; the other ranks answer,
/// and go on waiting. Collective.
void wait_with_patience(Communicator& comm, Work& work, double patience);

/// One collective on float32 tensors of `device`. Up to fifty repetitions in about `seconds`, three at least. The same answer on all ranks.
/// Collective.
CollectiveTime time_collective(Communicator& comm, at::Device device, Collective collective, int64_t bytes, double seconds,
                               double patience = kPatience);

/// Two ranks alone, all-reduce.
struct PairTime {
  int first = 0, second = 0;
  int64_t bytes = 0;
  double bandwidth = 0;  ///< bus bandwidth, bytes a second
};
/// All pairs of these ranks one after another, while the others wait; what looks slow is measured again. The same on all ranks. Collective.
std::vector<PairTime> time_pairs(Communicator& comm, at::Device device, const std::vector<int>& ranks, int64_t bytes,
                                 double patience = kPatience);

/// Pairs below 40 % of the fastest.
std::vector<PairTime> slow_pairs(const std::vector<PairTime>& pairs);

/// What the links between the ranks promise.
struct LinkPromise {
  double bandwidth = 0;  ///< bytes a second; 0 where the system does not tell
  double share = 0;      ///< of it that an all-reduce should reach
  std::string what;      ///< "eth0 of node2, 10 Gbit/s", or why it is not known
};
/// Between hosts: the fastest interface of the slowest host. On one host: of GPUs the PCIe link, of CPUs `copies`.
LinkPromise link_promise(const RankMap& map, double copies);

/// Bytes a second that this rank copies in memory while all others do; the least of all ranks. Collective.
double copy_rate(Communicator& comm, at::Device device);

/// Latency, bandwidth against the promise, and slow pairs, by name.
std::vector<Finding> network_findings(const RankMap& map, const std::vector<CollectiveTime>& times, const LinkPromise& promise,
                                      const std::vector<PairTime>& pairs);

/// "12.3 GB/s", "4.56 MB/s".
std::string rate_text(double bytes_per_second);
/// "12.3 us", "4.56 ms", "1.2 s".
std::string duration_text(double seconds);

}  // namespace dinoxx::doctor
