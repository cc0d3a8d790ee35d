#pragma once
#include <nlohmann/json.hpp>
#include <span>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/eval/eval_data.hpp"
#include "dinoxx/eval/ladder.hpp"

/// What may make a number look better than it is. Looked at before any number.
namespace dinoxx::eval {

/// Cosine, after the mean feature of the memory is taken off, from which two images count as nearly identical.
inline constexpr double kNearIdentical = 0.98;

/// Of the metadata: identical pictures (equal content_id) in memory and queries, and in validation where there is one; groups on both
/// sides; the distance of the class shares (total variation: half the sum of absolute differences) and the classes that one side lacks.
/// Fills "warnings" with what a person has to know.
nlohmann::json check_splits(const Dataset& dataset, const EvalData& data);

/// Of the features of one embedder: queries whose nearest memory image has cosine >= kNearIdentical, the median of these cosines over all
/// queries, and the most similar pairs. Collective.
nlohmann::json check_near_identical(const StepInput& input);

}  // namespace dinoxx::eval
