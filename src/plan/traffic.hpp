#pragma once
#include <string>
#include <vector>

#include "memory.hpp"

namespace dinoxx::plan {

/// Among whom: all ranks, those of a node, or those with the same place on every node.
enum class Span { kAll, kNode, kAcross };
RankGroup group_of(Span span, const RankGroup& ranks);

/// Equal collectives of one step.
struct StepCollective {
  std::string what;
  Collective kind = Collective::kAllReduce;
  double bytes = 0;  ///< of the whole tensor, each
  double count = 1;
  Span span = Span::kAll;
  bool overlaps = false;  ///< runs while the backward pass computes
};

/// All collectives that a rank takes part in during one step. Where shards lie within each node, gradients are reduced there first.
std::vector<StepCollective> collectives_of(const Model& model, const Spread& spread);

/// Bytes of the tensors of all of them.
double tensor_bytes(const std::vector<StepCollective>& collectives);
double call_count(const std::vector<StepCollective>& collectives);
/// Bytes that a rank sends, of one or of all.
double sent_bytes(const StepCollective& collective, const RankGroup& ranks);
double sent_bytes(const std::vector<StepCollective>& collectives, const RankGroup& ranks);

}  // namespace dinoxx::plan
