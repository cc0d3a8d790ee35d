#pragma once
#include <string>

#include "shards.hpp"

namespace dinoxx {

/// The ranks that share the state of a run. `sync`: "ddp", "zero1", "zero2" or "zero3"; `within`: "all" or "node" (parallel.sync,
/// parallel.shard_within). `gradients`: all ranks, for tensors on the networks' device; `control`: the same, for tensors on the CPU;
/// `node`: the name of this rank's. Where one rank alone would share, each has all, as with ddp. `columns`: the prototypes are spread over
/// the ranks that share (head.shard_prototypes). UsageError for nodes with different numbers of ranks. Collective.
SyncGroups make_sync_groups(const std::string& sync, const std::string& within, std::shared_ptr<Communicator> gradients,
                            Communicator& control, const std::string& node, bool columns = false);

/// "ddp", or "zero1 over 4 ranks": how the state is spread, for records.
std::string describe(const SyncGroups& groups);

}  // namespace dinoxx
