#pragma once
#include <boost/program_options.hpp>
#include <functional>
#include <string>
#include <vector>

#include "dinoxx/comm/runtime.hpp"

namespace dinoxx {

/// Runs a command's work under MPI with an end for every kind of error: what all ranks agreed on is said by rank 0 alone and ends in order;
/// what one rank met alone is said by it and ends the others with MPI_Abort, so that none is left waiting. Returns the exit code.
int run_under_mpi(MpiRuntime& mpi, const std::function<int()>& work);

/// MPI from its start to its end around the work of a command that needs one communicator; errors as run_under_mpi. 0 when the work
/// returns.
int run_with_mpi(int argc, char** argv, const std::function<void(MpiRuntime& mpi, Communicator& comm)>& work);

/// The command line as typed, for run records.
std::string command_line(int argc, char** argv);

/// Width of the help of a command, in columns.
inline constexpr unsigned kHelpColumns = 140;

/// The line of a command without MPI, as parse_line() reads it.
struct PlainLine {
  boost::program_options::variables_map variables;
  std::vector<std::string> words;  ///< that belong to no option, in their order
  std::string help;                ///< `usage` and the options when help was asked for; then nothing else is
};
/// Adds --help to the command's options and reads the line into them. UsageError for an unknown option, and for more than `most_words`
/// words; `expected`: what it says was expected.
PlainLine parse_line(int argc, char** argv, boost::program_options::options_description own, const std::string& usage,
                     const std::string& expected = "options that it has", int most_words = -1);

/// Cores that this rank may use: OMP_NUM_THREADS if set, else what it is bound to, shared with the ranks of this machine when the launcher
/// bound nothing.
int cores_of_rank(int local_size);

}  // namespace dinoxx
