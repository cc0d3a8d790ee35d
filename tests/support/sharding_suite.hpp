#pragma once
#include <functional>
#include <memory>

#include "dinoxx/comm/communicator.hpp"

/// Steps whose state is spread over ranks, on any communicator.
namespace dinoxx::testing_support {

/// A new communicator over all ranks, with an order of calls of its own. Collective.
using NewCommunicator = std::function<std::shared_ptr<Communicator>()>;

/// Every method and every policy, 20 steps in float64: masters, averages and moments are those of ddp to 1e-9, and the ranks hold the same
/// network.
void check_every_policy_equals_ddp(const NewCommunicator& comm);
/// The same where groups of `ranks_of_node` ranks share.
void check_sharing_within_nodes(const NewCommunicator& comm, int ranks_of_node);
/// float32 and bfloat16 networks.
void check_other_types(const NewCommunicator& comm);
/// Calls and bytes of a step, counted, are those of the policy, and each rank holds what the policy says.
void check_traffic_and_buffers(const NewCommunicator& comm);
/// A gradient that is no number on one rank changes nothing on any, and all name the same parameter.
void check_skipped_steps(const NewCommunicator& comm);
/// Saved under one policy, loaded under another: the same bits.
void check_checkpoints(const NewCommunicator& comm);

}  // namespace dinoxx::testing_support
