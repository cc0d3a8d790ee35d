#pragma once
#include <functional>
#include <string>

#include "dinoxx/comm/runtime.hpp"

namespace dinoxx {

/// Runs a command's work under MPI with an end for every kind of error: what all ranks agreed on is said by rank 0 alone and ends in order;
/// what one rank met alone is said by it and ends the others with MPI_Abort, so that none is left waiting. Returns the exit code.
int run_under_mpi(MpiRuntime& mpi, const std::function<int()>& work);

/// The command line as typed, for run records.
std::string command_line(int argc, char** argv);

/// Cores that this rank may use: OMP_NUM_THREADS if set, else what it is bound to, shared with the ranks of this machine when the launcher
/// bound nothing.
int cores_of_rank(int local_size);

}  // namespace dinoxx
