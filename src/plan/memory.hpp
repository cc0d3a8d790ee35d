#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cost/work.hpp"
#include "spread.hpp"

namespace dinoxx::plan {

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

/// Of the flat buffers of a rank's share: what travels between them, and the prototypes that each has a part of.
struct SharedElements {
  double travelling = 0, messages = 0, columns = 0;
  double all() const { return travelling + columns; }
};
SharedElements shared_elements(const Model& model, const Spread& spread);

/// What a rank holds. `work`: of mean_work() for this spread.
Memory memory_of(const Model& model, const Spread& spread, const Work& work);

/// Of these bytes those that grow with the parameters alone.
double state_bytes(const Model& model, const Spread& spread);

}  // namespace dinoxx::plan
