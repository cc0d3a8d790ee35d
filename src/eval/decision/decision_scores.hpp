#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "decision_request.hpp"
#include "decision_rule.hpp"
#include "dinoxx/comm/communicator.hpp"
#include "eval/run/protocols.hpp"
#include "eval/statistics/statistics.hpp"

/// What a rule of decision is chosen on, and what it does to the answers.
namespace dinoxx::eval {

/// The rule of a plan. A threshold is the highest that finds enough of the `held_out` images of the class, by their probabilities at
/// `temperature` (1 where none fits); costs need no choice. `about`: {"kind": "recall", class, wanted_recall, confidence, threshold,
/// images, found, recall, recall_at_least, confidence_of_bound, images_to_show, chosen_on, calibrated, note}, or {"kind": "cost", classes,
/// costs, calibrated}. `chosen_on`: in words.
DecisionRule choose_rule(const DecisionPlan& plan, const Dataset& dataset, int classes, const HeldOutAnswers& held_out,
                         const Stat& temperature, const std::string& chosen_on);

/// Answers by the rule beside those of largest probability, to the queries of `data`: {images, rule: FIGURES, argmax: FIGURES,
/// difference95: {figure: [low, high]} (rule minus argmax, the same resamples), intervals: how, classes: [{name, images, answered, recall,
/// precision, argmax_answered, argmax_recall, argmax_precision}]}. FIGURES: accuracy, balanced_accuracy; of a wanted recall also recall,
/// precision, answered (images), answered_share; of costs mean_cost; and interval95 {figure: [low, high]}: Wilson for shares of single
/// images, else percentiles of 2,000 resamples of the images, or of whole groups. What is not defined is null, with the reason under
/// "undefined". `probabilities` [queries, classes] are the calibrated ones. Collective.
nlohmann::json decision_scores(const Dataset& dataset, const EvalData& data, const DecisionRule& rule,
                               std::span<const double> probabilities, const std::vector<int32_t>& argmax, uint64_t seed, int threads,
                               Communicator& comm);

/// decision_scores() of the images that the rule was chosen on. `data`: whose classes they have. Collective.
nlohmann::json decision_in_validation(const Dataset& dataset, const EvalData& data, const DecisionRule& rule,
                                      const HeldOutAnswers& held_out, const Stat& temperature, uint64_t seed, int threads,
                                      Communicator& comm);

/// For the terminal: the rule and what it does beside the most probable class. `scores`: of decision_scores(), `where`: "validation".
std::vector<std::string> decision_lines(const nlohmann::json& scores, const nlohmann::json& rule, const std::string& where);

}  // namespace dinoxx::eval
