#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "evaluation.hpp"

namespace dinoxx::eval {

/// p values below this, corrected for the number of pairs, tell two checkpoints apart.
inline constexpr double kTestLevel = 0.05;

/// Methods that answer every query, of several evaluations of the same queries, in pairs.
struct PairedMethods {
  /// [{protocol, method, scores: [per evaluation {count, correct, accuracy, interval95, balanced_accuracy, balanced95, macro_f1,
  /// recall_few, undefined}], order: [evaluations by falling balanced accuracy], pairs: [{first, second, balanced_accuracy: {difference,
  /// interval95, p, p_holm}, accuracy: {the same, only_first_right, only_second_right}, answer}]}]. `first` and `second` are numbers of
  /// evaluations, differences are first minus second. Balanced accuracy: the bootstrap, resamples of the queries shared by all
  /// (bootstrap_p); accuracy: McNemar's exact test. p_holm: corrected over the pairs of this method. `answer`: "first" or "second" where
  /// both tests are significant and agree, "opposite" where they are and do not, "balanced_accuracy" or "accuracy" where one alone is, else
  /// "none".
  nlohmann::json methods = nlohmann::json::array();
  /// Of the method that the verdict speaks of (kVerdictOrder): {protocol, method, classes: [{name, memory, queries, correct: [per
  /// evaluation], rare, pairs: [{first, second, only_first_right, only_second_right, p, p_holm}]}], rare: {the same of all rare classes
  /// together, names}}, classes of fewest training images first. `rare`: the third of the classes with test images that has the fewest
  /// training images, at most ten. Only those have pairs, p_holm over the pairs of all of them. null: no such method.
  nlohmann::json classes;
  nlohmann::json test;             ///< {images, classes, by_group, resamples, seed}
  std::vector<std::string> notes;  ///< what the tests do not see
};

/// `protocols`: keys of those that are compared. Evaluations as find_common() lets them pass. `seed` of the resamples: with that of the
/// evaluations the resamples are theirs. Collective.
PairedMethods pair_methods(std::span<const Evaluation> evaluations, std::span<const std::string> protocols, uint64_t seed, int threads,
                           Communicator& comm);

}  // namespace dinoxx::eval
