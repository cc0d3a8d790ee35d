#pragma once
#include <vector>

#include "doctor/finding.hpp"
#include "rank_map.hpp"

namespace dinoxx::doctor {

/// What is wrong with the ranks and their machines, from their facts alone: different programs, libraries or devices; two ranks on one GPU;
/// bindings and too few cores; limits. No measurement. `shards`: files of the data folder that a rank keeps open, 0 when not known.
std::vector<Finding> machine_findings(const RankMap& map, int64_t shards = 0);

/// The parts of it.
std::vector<Finding> agreement_findings(const RankMap& map);
std::vector<Finding> gpu_findings(const RankMap& map);
std::vector<Finding> core_findings(const RankMap& map);
std::vector<Finding> limit_findings(const RankMap& map, int64_t shards);

/// Cores that the loader of a rank with a GPU wants, where the user has not said data.workers. 2 views of 224 and 8 of 96 pixels come at
/// 537 images a second and core (docs/bench_loader.md); a GPU takes a few thousand of a small network.
inline constexpr int kLoaderCoresOfGpu = 8;

}  // namespace dinoxx::doctor
