#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "dinoxx/comm/communicator.hpp"
#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

/// How a head scored on images that it had not learned from (`held_out`, of the classes of `data`): {images, correct, accuracy, interval95
/// (Wilson), balanced_accuracy, bootstrap95: {...}, bootstrap95_note, classes: [{name, images, correct, recall, interval95}], note}.
/// Without such images {"undefined": {"accuracy": why}}. C and temperature were chosen on the same images, so it is a little too good.
/// Collective.
nlohmann::json validation_scores(const Dataset& dataset, const EvalData& data, const HeldOutAnswers& held_out, uint64_t seed, int threads,
                                 Communicator& comm);

/// One line for the terminal; "" for no such scores.
std::string validation_text(const nlohmann::json& scores);

}  // namespace dinoxx::eval
