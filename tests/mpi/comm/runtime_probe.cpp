// Says what MpiRuntime decided, for the tests of start-up in comm.cmake. Argument "abort": rank 1 ends the job with code 85.
#include <ATen/ATen.h>

#include <cstdio>
#include <cstring>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/runtime.hpp"

int main(int argc, char** argv) {
  try {
    dinoxx::MpiRuntime runtime(&argc, &argv);
    const auto gradients = runtime.make_communicator(), control = runtime.make_communicator();
    const at::Tensor ranks = at::full({1}, runtime.rank(), at::kLong);
    control->all_reduce(ranks, dinoxx::ReduceOp::kSum)->wait();
    if (argc > 1 && std::strcmp(argv[1], "abort") == 0) {
      if (runtime.rank() == runtime.size() - 1) runtime.abort(85);
      control->barrier();  // never ends
    }
    std::printf("<%s rank %d of %d, local %d of %d, sum of ranks %d>\n", gradients->name().c_str(), gradients->rank(), gradients->size(),
                runtime.local_rank(), runtime.local_size(), static_cast<int>(ranks.item<int64_t>()));
  } catch (const dinoxx::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
  return 0;
}
