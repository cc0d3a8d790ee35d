#pragma once
#include <functional>
#include <memory>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx::testing_support {

/// Runs `body` on `size` ranks that are threads of this process. When a rank throws, the others are freed from their collectives, all are
/// joined, and the first error is thrown again with its rank in front.
void run_thread_ranks(int size, const std::function<void(std::shared_ptr<Communicator>)>& body);

}  // namespace dinoxx::testing_support
