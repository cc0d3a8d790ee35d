#pragma once
#include <filesystem>

#include "data_pipeline/format/manifest.hpp"
#include "pack_plan.hpp"

namespace dinoxx::detail {

/// Prepares a plan for being added to a data folder: items that are there already (by their names) leave it, classes get the numbers that
/// they have there and new ones the next, and items of a group that is there get its split unless the input says theirs. Returns how many
/// items are there already. UsageError when the label columns differ.
uint64_t plan_append(PackPlan& plan, const std::filesystem::path& data, const Manifest& manifest);

/// Puts all files of the data folder but manifest and list of bad inputs into `partial`: as links to the same bytes, or as copies where
/// there are no such links.
void take_over_files(const std::filesystem::path& data, const std::filesystem::path& partial);

}  // namespace dinoxx::detail
