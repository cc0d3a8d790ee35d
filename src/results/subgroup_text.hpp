#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace dinoxx {

/// Fewer test images of a subgroup than this are too few to call it the worst.
inline constexpr int64_t kLeastOfSubgroup = 10;

/// What the scores by a column (eval/subgroups/subgroups.hpp) say of the worst subgroup, as a clause; that there is none, where too few
/// have enough images.
std::string worst_subgroup_text(const nlohmann::json& by);

}  // namespace dinoxx
