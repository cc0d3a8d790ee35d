#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

/// The queries on a plane by their features, of at most 600: all images of the rarest classes first, evenly spaced ones of the others.
/// {"method": [protocol, embedder, method], "images", "of", "rule", "neighbours": 10, "by_chance", "pca": {explained: [2],
/// kept_neighbours}, "tsne": {perplexity, kept_neighbours}, "file": "feature_map.csv"}, or {"left_out": why} for fewer than 12 queries.
/// `csv` gets heading and lines: image,label,answer,pca_1,pca_2,tsne_1,tsne_2. The same on every rank, which each compute it.
nlohmann::json feature_map(const ProtocolInput& input, const std::string& protocol, const Prediction& prediction, std::string& csv);

}  // namespace dinoxx::eval
