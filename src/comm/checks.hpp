// What every back end demands of its arguments, and a Work that is already done.
#pragma once
#include <fmt/format.h>

#include <memory>
#include <string>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/communicator.hpp"

namespace dinoxx::comm_detail {

class DoneWork : public Work {
 public:
  void wait() override {}
  bool test() override { return true; }
};

inline std::string subject(const Communicator& comm, const char* operation) {
  return fmt::format("{} on rank {} of {} ({})", operation, comm.rank(), comm.size(), comm.name());
}

inline void require(bool ok, const Communicator& comm, const char* operation, const std::string& expected, const std::string& found) {
  if (!ok) fail(subject(comm, operation), expected, found, "");
}

inline void check_tensor(const Communicator& comm, const char* operation, const at::Tensor& tensor) {
  require(tensor.defined(), comm, operation, "a tensor", "an undefined one");
  require(tensor.is_contiguous(), comm, operation, "a contiguous tensor", fmt::format("strides {}", fmt::join(tensor.strides(), ",")));
}

inline void check_pair(const Communicator& comm, const char* operation, const at::Tensor& large, const at::Tensor& small) {
  check_tensor(comm, operation, large);
  check_tensor(comm, operation, small);
  require(large.scalar_type() == small.scalar_type(), comm, operation, "one type",
          fmt::format("{} and {}", c10::toString(large.scalar_type()), c10::toString(small.scalar_type())));
  require(large.numel() == comm.size() * small.numel(), comm, operation,
          fmt::format("{} x {} elements on the larger side", comm.size(), small.numel()), fmt::format("{}", large.numel()));
}

inline void check_root(const Communicator& comm, const char* operation, int root) {
  require(root >= 0 && root < comm.size(), comm, operation, fmt::format("a root in [0, {})", comm.size()), fmt::format("{}", root));
}

}  // namespace dinoxx::comm_detail
