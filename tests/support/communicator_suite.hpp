#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <vector>

#include "dinoxx/comm/communicator.hpp"

/// What every back end must do, as functions that each rank calls and that check with EXPECT_*. Expectations are computed serially from
/// what every rank is known to contribute.
namespace dinoxx::testing_support {

struct SuiteOptions {
  at::Device device = at::kCPU;
  std::vector<at::ScalarType> types = {at::kFloat, at::kDouble, at::kBFloat16, at::kInt, at::kLong, at::kByte};
};

void check_all_reduce(Communicator& comm, const SuiteOptions& options);
void check_reduction_is_bit_identical(Communicator& comm, const SuiteOptions& options);
void check_reduce_scatter(Communicator& comm, const SuiteOptions& options);
void check_all_gather(Communicator& comm, const SuiteOptions& options);
void check_broadcast(Communicator& comm, const SuiteOptions& options);
void check_split(Communicator& comm, const SuiteOptions& options);
void check_many_in_flight(Communicator& comm, const SuiteOptions& options);
/// The ranks post on the two communicators in different orders and wait in different orders.
void check_separate_communicators(Communicator& one, Communicator& two, const SuiteOptions& options);
/// Arguments that a single rank can refuse before anything is sent.
void check_bad_arguments(Communicator& comm, const SuiteOptions& options);
/// All of the above; `two` a second communicator over the same ranks.
void check_communicator(Communicator& one, Communicator& two, const SuiteOptions& options = {});

}  // namespace dinoxx::testing_support
