#pragma once
#include <boost/program_options.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "plan/plan.hpp"

namespace dinoxx {

/// What stands behind "dinoxx plan" on the command line.
class PlanLine {
 public:
  /// Adds the command's own options.
  void add_to(boost::program_options::options_description& own);
  /// The word that stands for the configuration, where the line begins with one: taken out of `words`.
  void take_config(std::vector<std::string>& words);
  /// What was typed as a plan::Request, and the configuration resolved for it. `typed`: configuration keys of the line. UsageError.
  plan::Request request(Config& config, const std::vector<Setting>& typed);

  const std::string& teacher_arch() const { return teacher_arch_; }
  const std::filesystem::path& json() const { return json_; }
  const std::filesystem::path& html() const { return html_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Config configuration(const std::vector<Setting>& typed) const;
  void look_at_data(plan::Request& request);

  std::string word_, config_, gpu_ = "h100", policy_, teacher_arch_, shards_ = "auto", data_;
  std::vector<std::string> set_;
  std::filesystem::path json_, html_;
  int64_t nodes_ = 1, per_node_ = 1;
  std::optional<int64_t> images_, cores_;
  std::optional<double> mfu_, decode_, image_kb_, link_node_, link_across_;
  double write_ = 2000, mtbf_hours_ = 1000, restart_minutes_ = 5, price_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace dinoxx
