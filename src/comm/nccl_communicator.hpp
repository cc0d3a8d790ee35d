#pragma once
#include <memory>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// True when the program was built with CUDA and NCCL.
bool built_with_nccl();
/// How many GPUs this process may use (CUDA_VISIBLE_DEVICES); 0 in a build without CUDA, without a driver or without a GPU.
int visible_gpus();
/// Makes `device` the calling thread's GPU. Error when there is none of that number, or in a build without CUDA.
void use_gpu(int device);

/// GPU collectives over the ranks of `control`, which carries NCCL's id. Collective. `device`: this rank's GPU (MpiRuntime::local_rank());
/// two ranks on one GPU are an error. Collectives run on a stream of their own behind an event of the current stream; Work::wait() makes
/// the current stream wait, not the host. Destroy it before MPI is finalised. Error in a build without CUDA.
std::shared_ptr<Communicator> make_nccl_communicator(const std::shared_ptr<Communicator>& control, int device);

}  // namespace dinoxx
