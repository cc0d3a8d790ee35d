#pragma once
#include "feature_file.hpp"

namespace dinoxx::detail {

std::unique_ptr<FeatureFile> create_hdf5_features(const std::filesystem::path& path, FeatureFileInfo info);

/// What commit() has to see first.
void check_row_count(const std::filesystem::path& path, uint64_t expected, uint64_t found);

}  // namespace dinoxx::detail
