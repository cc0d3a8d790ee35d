#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/run/protocols.hpp"

/// Images that one part of an evaluation has and another too, found without the features that are scored.
namespace dinoxx::eval {

struct Leak {
  uint64_t image = 0, other = 0;  ///< ids; `other`: the image, or the first of its group, on the side that was learned or chosen from
  std::string part, other_part;   ///< "test", "val", "train", ...
  std::string kind;               ///< "identical pixels", "near copy", "near copy, mirrored", "same group"
  std::optional<double> cosine;   ///< of the hashes of near copies
};

struct Leaks {
  std::vector<Leak> list;     ///< queries in the memory first, then validation in the memory, then queries in validation
  std::vector<bool> queries;  ///< [queries] whether the memory has the image, a copy of it or its group
};

/// Identical pixels, shared groups and near copies (perceptual_hash.hpp) between memory, queries and, where there are hashes of it,
/// validation. `hashes`: of hash_embedder(). Fills checks["near_copies"] and checks["leaks"], and checks["warnings"]. Where ordinary images
/// of the set are so alike that a hash does not tell them apart, near copies are reported with a note and are no leaks. Collective.
Leaks find_leaks(const Dataset& dataset, const EvalData& data, const SplitFeatures& hashes, uint64_t seed, int threads, Communicator& comm,
                 nlohmann::json& checks);

/// image, split, label, kind, cosine, and image, split and label of the other; one line for each leak.
std::string leaks_csv(const Dataset& dataset, const Leaks& leaks);

}  // namespace dinoxx::eval
