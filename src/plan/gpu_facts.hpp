#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace dinoxx::plan {

/// What a plan knows of a device and of what joins it to others. Rates are those that programs reach where the names say so, else what the
/// manufacturer states.
struct GpuFacts {
  std::string name;
  double memory = 0;              ///< bytes that a process can allocate
  double bf16_rate = 0;           ///< FLOP/s of dense products in bfloat16
  double fp32_rate = 0;           ///< the same for float32 inputs (TF32 on GPUs)
  double bandwidth = 0;           ///< bytes/s of its memory
  double link_node = 0;           ///< bytes/s that one device sends to others of its node, reached
  double link_across = 0;         ///< bytes/s that one device sends to other nodes, reached
  double latency_node = 3e-6;     ///< seconds of one hop within a node
  double latency_across = 6e-6;   ///< seconds of one hop between nodes
  double launch = 5e-6;           ///< seconds of the host for one kernel or product
  double product_share = 0.65;    ///< of bf16_rate or fp32_rate that large products reach
  double attention_share = 0.35;  ///< of the same rates that attention reaches
  double bandwidth_share = 0.8;   ///< of `bandwidth` that elementwise passes reach
  bool operator==(const GpuFacts&) const = default;
};

/// "a100", "h100", "h200".
std::vector<std::string> gpu_names();

/// The device of this name, or the one that a file in INI form describes (docs/plan.md has its keys). UsageError for an unknown name, with
/// the nearest one; for a file with unknown or missing keys, or with values that are no positive numbers.
GpuFacts gpu_facts(const std::string& name_or_file);

}  // namespace dinoxx::plan
