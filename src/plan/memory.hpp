#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cost/work.hpp"

namespace dinoxx::plan {

/// Who keeps what of the optimizer's state: see docs/plan.md.
enum class Policy { kDdp, kZero1, kZero2, kZero3 };
std::string policy_name(Policy policy);
/// UsageError for an unknown one, with the nearest name.
Policy policy_from_name(const std::string& name);

struct MemoryPart {
  std::string part;
  double bytes = 0;
};

/// Bytes on the device of one rank.
struct Memory {
  std::vector<MemoryPart> parts;  ///< in the order in which docs/plan.md explains them
  double total() const;
  double of(std::string_view part) const;  ///< 0 where there is none
};

/// Elements whose weights come and go with zero3: of all blocks but the last, and of the largest of these.
struct BlockElements {
  int64_t come_and_go = 0, largest = 0;
};
BlockElements block_elements(const ParamLayout& layout);

/// Of the flat buffers where `shards` ranks share by `policy`: what travels between them, and the prototypes that each has a part of.
struct SharedElements {
  double travelling = 0, messages = 0, columns = 0;
  double all() const { return travelling + columns; }
};
SharedElements shared_elements(const Model& model, Policy policy, int64_t shards);

/// What a rank holds. `shards`: ranks that share a policy's shards; `ranks`: all. `work`: of mean_work().
Memory memory_of(const Model& model, Policy policy, int64_t shards, int64_t ranks, const Work& work);

/// Bytes of `policy` that grow with the parameters alone.
double state_bytes(const Model& model, Policy policy, int64_t shards);

}  // namespace dinoxx::plan
