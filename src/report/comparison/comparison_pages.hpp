#pragma once
#include <nlohmann/json.hpp>
#include <string>

/// Evaluations side by side, from the JSON of eval::compare_evaluations() alone.
namespace dinoxx::report {

/// For a terminal: checkpoints with their cost, verdict, scores, tests, rare classes, notes.
std::string evaluations_text(const nlohmann::json& comparison);
/// One line for each checkpoint and score, with its difference to the best of that score.
std::string evaluations_csv(const nlohmann::json& comparison);
/// The page: one file without scripts.
std::string evaluations_html(const nlohmann::json& comparison);

}  // namespace dinoxx::report
