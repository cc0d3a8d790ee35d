#pragma once
#include "plan/plan.hpp"

namespace dinoxx::plan {

/// For a terminal: parameters, memory, one step, the run, what is proposed, and the numbers of GPUs.
std::string plan_text(const Plan& plan);

}  // namespace dinoxx::plan
