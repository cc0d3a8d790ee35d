// What the parts of the few-shot protocol share. Private to it.
#pragma once
#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

// The features as they are, and as SimpleShot wants them.
struct Prepared {
  at::Tensor memory, queries, centred_memory, centred_queries;
};

// Tasks of a few classes, as in papers: nearest class means of both kinds, for each number of shots. Collective.
nlohmann::json episodes(const ProtocolInput& input, const Prepared& prepared);
// The same tasks, and such with unequal numbers of queries, by methods that look at all queries of a task together; beside them SimpleShot,
// which does not. Collective.
nlohmann::json transductive_episodes(const ProtocolInput& input, const Prepared& prepared);
nlohmann::json transductive_settings();

}  // namespace dinoxx::eval
