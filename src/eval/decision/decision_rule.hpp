#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace dinoxx::eval {

/// How probabilities become an answer.
///
/// kMostProbable: the class of largest probability. kThreshold: `positive` where its probability is at least `threshold`, else the most
/// probable other class. kLeastCost: the class of least expected cost, sum over classes t of p(t) cost(t, answer) (Duda and Hart 1973,
/// section 2.2; Elkan 2001, eq. 1); equal: the more probable one. Equal probabilities: the lower class. A class without training images is
/// never answered. kLabels: an image may have several labels, each has a probability of its own (a sigmoid of its logit) and is answered
/// from its threshold on; answers() gives these, decide() the others'.
struct DecisionRule {
  enum class Kind { kMostProbable, kThreshold, kLeastCost, kLabels };
  Kind kind = Kind::kMostProbable;
  int32_t positive = -1;
  double threshold = 0;
  std::vector<double> costs;                    ///< [true class, answer]; empty unless kLeastCost
  std::vector<double> thresholds;               ///< [labels]; empty unless kLabels
  nlohmann::json about = {{"kind", "argmax"}};  ///< for results: kind (argmax, recall, cost, labels) and how it was chosen
};

/// Answers to rows of probabilities [N, classes]. `training_images` [classes].
std::vector<int32_t> decide(const DecisionRule& rule, std::span<const double> probabilities, std::span<const int64_t> training_images);

/// Of kLabels: whether each label is answered, for rows of probabilities [N, labels].
std::vector<uint8_t> answers(const DecisionRule& rule, std::span<const double> probabilities);

/// The rule that its `about` describes, for these classes. Error naming what is missing or does not fit.
DecisionRule rule_from_json(const nlohmann::json& about, const std::vector<std::string>& classes);

/// Lines for a person: the rule, and how sure its recall is; none for the most probable class.
std::vector<std::string> rule_lines(const nlohmann::json& about);

}  // namespace dinoxx::eval
