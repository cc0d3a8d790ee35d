#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "doctor/machine/rank_map.hpp"
#include "doctor/machine/versions.hpp"
#include "doctor/measure/clock_skew.hpp"
#include "doctor/measure/collectives.hpp"
#include "doctor/measure/read_rate.hpp"
#include "doctor/measure/trial_step.hpp"
#include "doctor/measure/write_rate.hpp"
#include "finding.hpp"

namespace dinoxx::doctor {

/// What an examination has found so far, for a person as it comes and for --json at the end. Rank 0 prints; on the other ranks nothing is
/// printed.
class Report {
 public:
  Report(bool prints, bool json) : prints_(prints && !json), json_(prints && json) {}

  void versions(const std::vector<Version>& versions, const std::vector<std::string>& doubled);
  void processor(const HostFacts& facts);
  void ranks(const RankMap& map);
  void hosts(const RankMap& map, const std::vector<ClockOffset>& clocks);
  void begin_collectives(const std::string& back_end, const LinkPromise& promise, double copies);
  void collective(const CollectiveTime& time);
  void pairs(const RankMap& map, const std::vector<PairTime>& pairs);
  void read(const std::filesystem::path& data, const ReadRate& rate);
  void written(const std::filesystem::path& run, const WriteRate& rate);
  void step(const TrialStep& step);
  /// Something that was not looked at, and why.
  void left_out(const std::string& what);
  void end(const Verdict& verdict);

 private:
  void title(const std::string& text);
  void line(const std::string& text);
  bool prints_, json_;
  std::vector<std::string> left_out_;
  nlohmann::json document_ = nlohmann::json::object();
};

}  // namespace dinoxx::doctor
