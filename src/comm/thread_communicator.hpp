#pragma once
#include <chrono>
#include <memory>
#include <vector>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// Ranks as threads of one process, so that a distributed computation is a plain unit test. Element r belongs to rank r's thread. Reductions run in rank order.
/// What MPI would answer with a hang is an Error here: ranks that call different operations, and waiting longer than `patience`.
std::vector<std::shared_ptr<Communicator>> make_thread_communicators(int size, std::chrono::milliseconds patience = std::chrono::seconds(60));

/// Makes every pending and later operation of the group (and of groups split from it) throw: a rank has failed and will not come.
void abandon_thread_group(Communicator& communicator);

}  // namespace dinoxx
