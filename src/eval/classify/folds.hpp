#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace dinoxx::eval {

/// Cross-validation folds with every class in every fold as far as it goes: rows -> fold in [0, folds), or -1 for rows that are always
/// learned from. Rows of one group (nonzero) stay together. Units (groups, or single rows) are taken in an order drawn from (seed, repeat,
/// id), larger ones first, and go where their classes are scarcest so far (equal: the smallest fold). A class that has a single unit would
/// be missing from what its fold is tested against: that unit is always learned from.
std::vector<int> stratified_folds(std::span<const uint64_t> ids, std::span<const int32_t> labels, std::span<const uint64_t> groups,
                                  int classes, int folds, uint64_t seed, uint64_t repeat = 0);

/// `rows` in their order, but the first of each unit before the second of any: five images of one patient are hardly five examples.
/// `units`: by row, of units_of(); 0 is a unit of its own, empty: all are.
std::vector<int64_t> one_of_each_unit_first(const std::vector<int64_t>& rows, std::span<const uint64_t> units);

/// For each class at most `shots` rows out of `eligible` (rows; empty: all), all of them where it has fewer: those with the smallest draws
/// of (seed, id, draw), one of each unit first, so that fewer shots of one draw are a part of more. Ascending.
std::vector<int64_t> draw_shots(std::span<const uint64_t> ids, std::span<const int32_t> labels, int classes, int64_t shots, uint64_t seed,
                                uint64_t draw, const std::vector<bool>& eligible = {}, std::span<const uint64_t> units = {});

}  // namespace dinoxx::eval
