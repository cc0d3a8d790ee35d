# Everything that dinoxx links. LibTorch is the PyPI wheel as hand-made targets, see LibTorchWheel.cmake.
include(LibTorchWheel)

find_package(MPI REQUIRED COMPONENTS C)
add_library(dinoxx_mpi INTERFACE)
target_link_libraries(dinoxx_mpi INTERFACE MPI::MPI_C)
target_compile_definitions(dinoxx_mpi INTERFACE OMPI_SKIP_MPICXX)
# Four ranks on two cores must neither be refused nor bound to one core nor spin.
set(DINOXX_MPIEXEC_TEST_FLAGS --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 CACHE STRING "mpirun options for tests")

find_package(PkgConfig REQUIRED)
# Debian installs serial HDF5 (thread-safe) and Open MPI HDF5 (not thread-safe) side by side: name the serial one.
pkg_check_modules(HDF5 IMPORTED_TARGET hdf5-serial)
if(NOT HDF5_FOUND)
  pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5)
endif()
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(Threads REQUIRED)
find_path(RANDOM123_INCLUDE Random123/philox.h REQUIRED)
if(DINOXX_TESTS)
  find_package(GTest REQUIRED)
endif()
if(DINOXX_BENCH)
  find_package(benchmark QUIET)
endif()
