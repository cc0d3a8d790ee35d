#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dinoxx::doctor {

/// A library or a part of the program, and where it comes from.
struct Version {
  std::string name;
  std::string value;   ///< version in words
  std::string file;    ///< of the library in this process; empty: it is part of the program, or is not there
  bool common = true;  ///< ranks of one run must have the same
};

/// What this process is made of: the program, LibTorch, MPI, PMIx, HDF5, CUDA and NCCL, each with the file that was loaded. PMIx is known
/// only after MPI has started. `build`: build_info().
std::vector<Version> versions(const nlohmann::json& build);

/// Files of shared libraries in this process whose name begins with `stem` ("libmpi.so"), in the order of loading.
std::vector<std::string> loaded_libraries(const std::string& stem);

/// Libraries of which the process has loaded more than one, though they bear no company: two of MPI, NCCL, HDF5, or two runtimes of OpenMP.
/// A line for each, with the files.
std::vector<std::string> doubled_libraries();

/// The instruction sets of interest that this processor has, in words.
std::string processor_features();

/// "avx512, the processor's" and so on: the level of kernels in use.
std::string simd_in_words();

}  // namespace dinoxx::doctor
