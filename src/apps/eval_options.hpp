#pragma once
#include <boost/program_options.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "decision_options.hpp"
#include "eval/run/evaluate.hpp"
#include "finetune_options.hpp"
#include "readout_options.hpp"

namespace dinoxx {

/// Where features and fitted heads stay: what --cache asked for, else dinoxx_features in the folder `beside`, where the user has chosen a
/// place with room and other evaluations go too. Empty: nowhere.
std::filesystem::path cache_folder(const std::string& asked, const std::filesystem::path& beside);

/// The options of "dinoxx eval": --protocol, --out, --cache and so on, and those of fine-tuning.
class EvalLine {
 public:
  void add_to(boost::program_options::options_description& own, eval::EvaluateOptions& options);
  /// Turns what was typed into `options`. UsageError for a name that nobody knows or a value that is out of range. `out` must not be empty.
  /// `settings`: of configuration keys. `several` checkpoints are compared with one another: without --baselines there are none.
  void apply_to(eval::EvaluateOptions& options, const std::vector<Setting>& settings, bool several = false);
  const std::string& out() const { return out_; }
  bool quiet() const { return quiet_; }
  /// What to say of old words, one line each.
  const std::vector<std::string>& notes() const { return notes_; }

  /// The line with today's names of options in place of those of the release before (--suite, --sweep-views), which are accepted for one
  /// more release; for each a note.
  std::vector<std::string> renewed(int argc, char** argv);

 private:
  std::string out_, protocols_, baselines_, split_, cache_;
  double cache_limit_ = 0;
  int linear_probe_views_ = 0;
  bool quiet_ = false;
  FinetuneLine finetune_;
  ReadoutLine readout_{/*may_whiten=*/true};
  DecisionLine decision_;
  std::vector<std::string> notes_;
};

}  // namespace dinoxx
