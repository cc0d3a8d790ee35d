#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/run/protocols.hpp"

/// What a person can look at to judge the numbers: single images with their nearest neighbours, and labels that may be wrong.
namespace dinoxx::eval {

/// Images of the queries that are worth a look, chosen by a fixed rule from a method's answers: the most confident mistakes (at most two of
/// the same confusion), then for each of the rarest classes the most confident right answer and mistake. {"method": [protocol, embedder,
/// method], "rule", "neighbours", "images": [{why, id, image, label, answer, probability, neighbours: [{image, label, similarity}]}]}, the
/// neighbours those of the memory by cosine, nearest first. Collective.
nlohmann::json neighbour_evidence(const ProtocolInput& input, const std::string& protocol, const Prediction& prediction);

/// Labels of the memory that its other images disagree with: suspicions, no findings. The vote of each image's nearest neighbours in the
/// rest of the memory is its out-of-sample probability; an image is suspected when another class gets more than half of the vote and at
/// least as much as images of that class give it on average (the thresholds of confident learning, Northcutt et al. 2021). Classes of fewer
/// than 5 images are neither suspected nor suggested. At most 2e12 multiplications: of a larger memory evenly spaced images are examined.
/// {"rule", "neighbours", "examined", "of", "classes_too_small", "right_without_itself", "suspected", "pairs": [{label, suggested,
/// images}], "file": "suspects.csv", "images": [{id, image, label, suggested, share_of_label, share_of_suggested, neighbours}]} with the
/// strongest first. `csv`, where given, gets a line for each of them: image, split, label, suggested, why, other_image. Collective.
nlohmann::json label_suspicions(const ProtocolInput& input, std::string* csv = nullptr);

}  // namespace dinoxx::eval
