#pragma once
#include <string>

#include "plan/plan.hpp"

namespace dinoxx::plan {

/// A page that stands alone: what is proposed, memory by part, and charts over the number of GPUs.
std::string plan_page(const Plan& plan);

}  // namespace dinoxx::plan
