#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

/// Which images belong together: whatever splits a set keeps them on one side.
namespace dinoxx::eval {

/// The group (patient, plot, video) of an image; nothing when it has none.
std::optional<uint64_t> group_of(const Dataset& dataset, uint64_t id);

/// For each of `ids` a number that is equal for images of one group and for images of identical pixels (equal content_id), directly or by
/// way of others; 0 for an image that belongs together with no other of `ids`. A unit that is found through `ids` alone.
std::vector<uint64_t> units_of(const Dataset& dataset, std::span<const uint64_t> ids);

/// For each of `ids` a number that is equal for images of one group; 0 for an image without one. Groups alone: what resampling draws.
std::vector<uint64_t> groups_of(const Dataset& dataset, std::span<const uint64_t> ids);

/// For each of `ids` whether it is the first of its pixels: a second copy of a picture shows nothing new.
std::vector<bool> first_copies(const Dataset& dataset, std::span<const uint64_t> ids);

/// Rows (indices into `labels`) that are held out of a set, ascending: of each class with n images about round(share * n), at least 1.
/// `units` (of units_of(); empty: none) stay whole, in an order drawn by (seed, smallest id) alone (Purpose::kSplit), so that the choice is
/// the same in every process and after a restart. A class keeps at least one unit in the set, so that one whose images are a single unit
/// gives none.
std::vector<size_t> held_out_rows(std::span<const uint64_t> ids, std::span<const int32_t> labels, std::span<const uint64_t> units,
                                  double share, uint64_t seed);

}  // namespace dinoxx::eval
