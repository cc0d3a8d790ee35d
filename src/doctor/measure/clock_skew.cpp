#include "clock_skew.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>

namespace dinoxx::doctor {

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<ClockOffset> clock_offsets(Communicator& comm, const std::vector<int>& ranks, const std::function<double()>& clock) {
  constexpr int kTrips = 8;
  std::vector<ClockOffset> offsets;
  const at::Tensor time = at::zeros({1}, at::kDouble), answer = at::zeros({2}, at::kDouble);
  for (const int rank : ranks) {
    ClockOffset offset{rank, 0, 0};
    double fastest = -1;
    for (int trip = 0; rank != 0 && trip < kTrips; ++trip) {
      // The rank reads its clock between rank 0's two readings, whichever way the messages take through the others.
      const double sent = clock();
      comm.broadcast(time, 0)->wait();
      if (comm.rank() == rank) time[0] = clock();
      comm.broadcast(time, rank)->wait();
      const double received = clock(), round_trip = received - sent;
      if (comm.rank() != 0 || (fastest >= 0 && round_trip >= fastest)) continue;
      fastest = round_trip;
      answer[0] = time.item<double>() - (sent + received) / 2;
      answer[1] = round_trip / 2;
    }
    if (rank != 0) {
      comm.broadcast(answer, 0)->wait();
      offset.seconds = answer[0].item<double>();
      offset.uncertainty = answer[1].item<double>();
    }
    offsets.push_back(offset);
  }
  return offsets;
}

std::vector<Finding> clock_findings(const RankMap& map, const std::vector<ClockOffset>& offsets) {
  constexpr double kMost = 1;  // second: what file times and logs of two hosts may differ by
  std::vector<Finding> findings;
  for (const ClockOffset& offset : offsets)
    if (std::abs(offset.seconds) - offset.uncertainty > kMost)
      findings.push_back({Severity::kWarn, "clock of " + map[static_cast<size_t>(offset.rank)].host,
                          fmt::format("the time of {} to a second", map.front().host),
                          fmt::format("{:.1f} s {} of it", std::abs(offset.seconds), offset.seconds > 0 ? "ahead" : "behind"),
                          "Synchronise the clocks (NTP): logs and times of files of the hosts do not fit together"});
  return findings;
}

}  // namespace dinoxx::doctor
