#pragma once
#include "plan/plan.hpp"

namespace dinoxx::plan {

/// For a terminal: parameters, memory, one step, the run, what is proposed, and the numbers of GPUs.
std::string plan_text(const Plan& plan);

/// One row of a table of Markdown for docs: recipe, GPUs, memory of each policy, what is chosen.
std::string markdown_row(const std::string& name, const Plan& plan);
std::string markdown_head();

}  // namespace dinoxx::plan
