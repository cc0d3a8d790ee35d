#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"

/// Steps whose state is spread over ranks, on any communicator.
namespace dinoxx::testing_support {

/// A new communicator over all ranks, with an order of calls of its own. Collective.
using NewCommunicator = std::function<std::shared_ptr<Communicator>()>;

/// A configuration to be trained, by name.
struct ShardingCase {
  std::string name, extra;
};
/// Every method as it comes, and what stands beside: a Gram teacher that is refreshed, LARS, clipping by parameter, several gradients.
std::vector<ShardingCase> sharding_cases();
/// Every method with prototypes: as many as four ranks can share, in two heads, by both ways of centring.
std::vector<ShardingCase> cases_with_prototypes();

/// Every policy, 20 steps in float64: masters, averages and moments are those of ddp to 1e-9, and the ranks hold the same network.
void check_every_policy_equals_ddp(const NewCommunicator& comm, const ShardingCase& one);
/// The same where groups of `ranks_of_node` ranks share.
void check_sharing_within_nodes(const NewCommunicator& comm, int ranks_of_node, const ShardingCase& one);
/// The same where the ranks (of a node) share the prototypes by columns.
void check_prototypes_by_columns(const NewCommunicator& comm, int ranks_of_node, const ShardingCase& one);
/// A ResNet, whose running statistics every rank has.
void check_network_with_batch_norms(const NewCommunicator& comm);
/// float32 and bfloat16 networks.
void check_other_types(const NewCommunicator& comm);
/// Calls and bytes of a step, counted, are those of the policy, and each rank holds what the policy says.
void check_traffic_and_buffers(const NewCommunicator& comm);
/// A gradient that is no number on one rank changes nothing on any, and all name the same parameter.
void check_skipped_steps(const NewCommunicator& comm);
/// Saved under one policy, loaded under another: the same bits.
void check_checkpoints(const NewCommunicator& comm);

}  // namespace dinoxx::testing_support
