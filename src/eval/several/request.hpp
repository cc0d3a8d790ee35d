#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "eval/run/eval_data.hpp"
#include "eval/run/evaluate.hpp"

namespace dinoxx::eval {

/// All that decides about the numbers of an evaluation: weights, facts, input, data, protocols and their settings, seed, program. Stands in
/// results.json as run.request, so that a later call can tell whether these are the results that it would get. Ranks and threads are not
/// among it: they change no number (but the last bits of fine-tuning).
nlohmann::json request_of(const EvaluateOptions& options, const LoadedModel& model, int image_size, const Dataset& dataset,
                          const EvalData& data);

/// Names of what is not equal in two requests, separated by commas; "" when they are equal.
std::string different_in(const nlohmann::json& request, const nlohmann::json& other);

}  // namespace dinoxx::eval
