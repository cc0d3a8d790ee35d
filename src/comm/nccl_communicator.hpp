#pragma once
#include <memory>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// GPU collectives over the ranks of `control`, which carries NCCL's id. Collective. `device`: this rank's GPU (MpiRuntime::local_rank());
/// two ranks on one GPU are an error. Collectives run on a stream of their own behind an event of the current stream; Work::wait() makes
/// the current stream wait, not the host. Destroy it before MPI is finalised. Error in a build without CUDA.
std::shared_ptr<Communicator> make_nccl_communicator(const std::shared_ptr<Communicator>& control, int device);

}  // namespace dinoxx
