// What the program asks of the device, counted; a record for each step of training.
#pragma once
#include <cstddef>
#include <string>

namespace fakegpu {

struct Counters {
  long launches = 0;         ///< kernels
  long products = 0;         ///< matrix products of cuBLAS and cuBLASLt
  double product_flops = 0;  ///< of them
  long to_device = 0;        ///< copies from host memory
  double to_device_bytes = 0;
  long to_host = 0;  ///< copies to host memory
  double to_host_bytes = 0;
  long on_device = 0;  ///< copies within device memory
  double on_device_bytes = 0;
  long fills = 0;               ///< cudaMemset
  long stream_waits = 0;        ///< the host waits for a stream
  long event_waits = 0;         ///< the host waits for an event
  long device_waits = 0;        ///< the host waits for the device
  long allocations = 0;         ///< cudaMalloc
  long releases = 0;            ///< cudaFree
  long pinned_allocations = 0;  ///< cudaHostAlloc
  long collectives = 0;         ///< NCCL calls
  double collective_bytes = 0;  ///< of their larger side
};

/// Changes the counters under their lock.
template <class Change>
void count(Change change);

/// A kernel or product of this name, for the lists of FAKEGPU_NAMES_OF_STEP.
void note_name(const std::string& name);
/// A function that no stand-in answers: it returned 0. Each is logged once.
void note_unanswered(const char* function);
/// One line of the log, a JSON object.
void write_log(const std::string& line);
/// Ends a step: writes what was counted since the last one. Called by the program's step (program_hooks.cpp).
void end_step();

namespace detail {
void lock_counters();
void unlock_counters();
Counters& counters();
}  // namespace detail

template <class Change>
void count(Change change) {
  detail::lock_counters();
  change(detail::counters());
  detail::unlock_counters();
}

}  // namespace fakegpu
