#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

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
/// rank, which is named with its host where it is not rank 0. Without it the ranks whose part went well would wait in the next collective
/// for ever. Collective.
void on_all_ranks(Communicator& comm, const std::function<void()>& work);

/// AgreedError (usage) naming the ranks that see another text than rank 0, with their hosts: different configurations, data or programs
/// must not train together. Collective.
void ranks_must_agree(Communicator& comm, const std::string& text, const std::string& what);

/// Error naming step and ranks when the ranks' tensors differ in any bit (64-bit hash, gathered; of a tensor on a GPU word_hash()). Only
/// ranks with the same `part` are compared. Collective.
void check_ranks_agree(Communicator& comm, const at::Tensor& flat, const std::string& what, int64_t step, int part = 0);

}  // namespace dinoxx
