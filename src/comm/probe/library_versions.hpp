#pragma once
#include <string>

namespace dinoxx {

/// The MPI library's own line about itself, "Open MPI v4.1.4, package: ...". May be called before MPI is initialised.
std::string mpi_library_version();
/// Version of the MPI standard that it has, "3.1".
std::string mpi_standard();

}  // namespace dinoxx
