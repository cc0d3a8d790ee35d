#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "evaluation.hpp"

namespace dinoxx::eval {

/// Figures of the compared protocols that are no answers to single queries: cross-validation inside the memory, few-shot by number of
/// shots, clustering and retrieval, segmentation, matching. [{protocol, figure, method (of cross-validation and few-shot), shots (of
/// few-shot), values: [per evaluation {value, interval95} or null], spread (what the intervals are over), pairs}]. `pairs`, where
/// results.json has the single draws or folds, which are the same for all: [{first, second, difference, interval95, p, p_holm}], Student's
/// test of the differences draw by draw, for folds with the variance of Nadeau and Bengio; p_holm over the pairs of one figure. null: the
/// single values are not recorded, or they are no repetitions. Figures that no evaluation has are left out.
nlohmann::json compare_figures(std::span<const Evaluation> evaluations, std::span<const std::string> protocols);

}  // namespace dinoxx::eval
