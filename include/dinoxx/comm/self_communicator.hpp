#pragma once
#include <memory>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// The group of one rank: every collective is complete when it returns. Any device and type.
std::shared_ptr<Communicator> make_self_communicator();

}  // namespace dinoxx
