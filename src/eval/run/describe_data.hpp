#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::eval {

struct LabelTable;

/// What results.json says of the data: path, name, fingerprint, images, label_column (null where the data set names none), classes, splits,
/// groups, masks, widths and heights; of classes that have `ranks` (ordered.hpp) their order, the lowest first; of `labels`, of
/// which an image may have several, their names.
nlohmann::json describe_data(const Dataset& dataset, const std::filesystem::path& path, std::span<const int32_t> ranks = {},
                             const LabelTable* labels = nullptr);

}  // namespace dinoxx::eval
