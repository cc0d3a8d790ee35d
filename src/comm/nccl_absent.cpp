// The NCCL communicator of a build without CUDA.
#include "dinoxx/base/error.hpp"
#include "nccl_communicator.hpp"

namespace dinoxx {

std::shared_ptr<Communicator> make_nccl_communicator(const std::shared_ptr<Communicator>&, int) {
  fail("NCCL communicator", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or train on the CPU");
}

}  // namespace dinoxx
