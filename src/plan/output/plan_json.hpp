#pragma once
#include <nlohmann/json_fwd.hpp>

#include "plan/plan.hpp"

namespace dinoxx::plan {

/// Everything that a plan says, in bytes, seconds and FLOP.
nlohmann::json plan_json(const Plan& plan);

}  // namespace dinoxx::plan
