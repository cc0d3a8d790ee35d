#include "library_versions.hpp"

#include <fmt/format.h>
#include <mpi.h>

namespace dinoxx {

std::string mpi_library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);  // one of the few calls allowed before MPI_Init
  const std::string all = text;            // the length counts a terminating zero in some versions
  return all.substr(0, all.find('\n'));
}

std::string mpi_standard() {
  int version = 0, subversion = 0;
  MPI_Get_version(&version, &subversion);
  return fmt::format("{}.{}", version, subversion);
}

}  // namespace dinoxx
