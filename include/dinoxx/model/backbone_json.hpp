#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/model/published.hpp"

namespace dinoxx {

/// A configuration as JSON, every field by its name; what files of dinoxx carry in their metadata.
nlohmann::json to_json(const BackboneConfig& config);
/// Error that names `source` and the field when one is missing, unknown or of a wrong type.
BackboneConfig backbone_from_json(const nlohmann::json& json, const std::string& source);

/// Elements of a contiguous tensor of any floating type as float64. Error for another type.
std::vector<double> as_doubles(DType dtype, std::span<const std::byte> bytes);
/// The nearest bfloat16 number, ties to even.
double to_bfloat16(double value);

}  // namespace dinoxx
