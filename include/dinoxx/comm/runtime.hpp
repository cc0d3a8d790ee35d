#pragma once
#include <memory>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// How many tasks the launcher says it started, and which of them this is, read from its environment before MPI is initialised: Open MPI,
/// MPICH/Intel MPI (PMI), MVAPICH, or the Slurm step (not the allocation: SLURM_NTASKS is also set in a batch script, where one process
/// runs). 1 without a launcher.
struct LaunchedTasks {
  int count = 1;
  const char* variable = "";  ///< the environment variable that said so, "" when none did
  int rank = 0;               ///< this task's number among them
};
/// Reads the environment alone; never calls MPI.
LaunchedTasks launched_tasks();

/// Owns MPI for the life of main: initialised here if a launcher started more than one task, finalised by the destructor after everything
/// that holds a communicator is gone (create it first in main, no singleton). Construct it before the first parallel region: the launcher's
/// binding of cores is then known to OpenMP. One process alone never touches MPI.
class MpiRuntime {
 public:
  /// Error when MPI counts fewer ranks than the launcher started tasks (else N copies of rank 0 would write one folder), or gives no
  /// MPI_THREAD_FUNNELED.
  MpiRuntime(int* argc, char*** argv);
  ~MpiRuntime();
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  int rank() const { return rank_; }              ///< 0 without MPI
  int size() const { return size_; }              ///< 1 without MPI
  int local_rank() const { return local_rank_; }  ///< among the ranks that share this machine's memory: choose the GPU by it
  int local_size() const { return local_size_; }

  /// A new communicator over all ranks: one each for gradients, statistics and control, so that their order cannot cross. Collective.
  std::shared_ptr<Communicator> make_communicator() const;

  /// Ends all ranks with this exit code, from an error that only one of them may have met. Flushes the output streams.
  [[noreturn]] void abort(int code) const;

 private:
  bool initialized_ = false;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
};

}  // namespace dinoxx
