#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/features/features.hpp"

namespace dinoxx::eval {

/// What an evaluation costs, part by part and for each embedder: for "run" of results.json.
class CostRecord {
 public:
  /// Wraps the `embed` of each embedder, so that images and time of its forward passes are counted from here on.
  explicit CostRecord(std::vector<Embedder>& embedders);

  /// The time since the last call belongs to `part`, and to `embedder` where one is named.
  void add(const std::string& part, const std::string& embedder = "");
  /// `seconds` of what was counted as `part` belong to `other`.
  void move(const std::string& part, const std::string& other, double seconds);
  /// {part: seconds}.
  const std::map<std::string, double>& parts() const { return seconds_; }

  /// {EMBEDDER: {"images", "core_seconds", "seconds": {part: seconds}}}: images whose feature was computed (none where all came from the
  /// cache), the time that this took as a sum over the threads of all ranks, without reading and decoding, and the seconds of the parts
  /// that were this embedder's alone. Collective.
  nlohmann::json of_embedders(Communicator& comm) const;

 private:
  struct Clock;
  using Time = std::chrono::steady_clock;
  Time::time_point since_ = Time::now();
  std::map<std::string, double> seconds_;
  std::vector<std::string> names_;
  std::vector<std::shared_ptr<Clock>> clocks_;
  std::map<std::string, std::map<std::string, double>> of_embedder_;
};

}  // namespace dinoxx::eval
