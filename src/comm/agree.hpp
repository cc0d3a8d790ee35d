#pragma once
#include <functional>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// An error that every rank throws at the same place: rank 0 alone need say it, and nobody has to be aborted.
class AgreedError : public Error {
 public:
  AgreedError(const std::string& what, ExitCode code) : Error(what), code_(code) {}
  ExitCode exit_code() const override { return code_; }

 private:
  ExitCode code_;
};

/// Runs `work` on this rank; when it throws on any rank, every rank throws an AgreedError with message and exit code of the lowest failing
/// rank. Without it the ranks whose part went well would wait in the next collective for ever. Collective.
void on_all_ranks(Communicator& comm, const std::function<void()>& work);

}  // namespace dinoxx
