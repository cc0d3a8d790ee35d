#pragma once
#include <nlohmann/json_fwd.hpp>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx {

/// {"name", "classes"}, and "list" of a label that is one of several: as a shard and the manifest have it (SHARD_FORMAT.md).
nlohmann::json column_as_json(const LabelColumn& column);

}  // namespace dinoxx
