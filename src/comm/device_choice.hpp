#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// Where the networks of this rank compute. `asked`: "auto", "cpu" or "cuda"; auto becomes cuda where all ranks of `all` have GPUs, and cpu
/// where none has one, the same on all ranks. A GPU for each rank of a machine, and that of a rank is made the thread's own. Collective.
/// UsageError, with the option's or key's name `key`: auto where some hosts have GPUs and others none, or where a machine has GPUs that the
/// program cannot use. Error: fewer GPUs than ranks of a machine.
at::Device choose_device(const std::string& asked, const std::string& key, Communicator& all, int local_rank);

/// "cpu", or the GPU by name, with its memory.
std::string device_line(at::Device device);

}  // namespace dinoxx
