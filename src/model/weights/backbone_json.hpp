#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "published.hpp"

namespace dinoxx {

/// A configuration as JSON, every field by its name; what files of dinoxx carry in their metadata.
nlohmann::json to_json(const BackboneConfig& config);
/// A field that is missing keeps its default (the file is older than the field). Error that names `source` and the field when one is
/// unknown or of a wrong type.
BackboneConfig backbone_from_json(const nlohmann::json& json, const std::string& source);

}  // namespace dinoxx
