# Everything that dinoxx links. LibTorch is the PyPI wheel as hand-made targets, see LibTorchWheel.cmake.
include(LibTorchWheel)
include(Cuda)

include(DinoxxLibraries)
set(CMAKE_BUILD_RPATH ${DINOXX_TORCH_LIB} ${TORCH_ROOT}/nvidia/cu13/lib ${TORCH_ROOT}/nvidia/nccl/lib)

add_library(dinoxx_mpi INTERFACE)
target_link_libraries(dinoxx_mpi INTERFACE MPI::MPI_C)
target_compile_definitions(dinoxx_mpi INTERFACE OMPI_SKIP_MPICXX)
# Four ranks on two cores must neither be refused nor bound to one core nor spin.
set(DINOXX_MPIEXEC_TEST_FLAGS --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 CACHE STRING "mpirun options for tests")

# The wheel's include folder holds the headers of another fmt (without its library). Ours has to be found first by every file that includes LibTorch.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/first_include)
file(CREATE_LINK ${fmt_include}/fmt ${CMAKE_BINARY_DIR}/first_include/fmt SYMBOLIC)
target_include_directories(dinoxx_torch BEFORE INTERFACE ${CMAKE_BINARY_DIR}/first_include)
find_package(nlohmann_json REQUIRED)
find_path(RANDOM123_INCLUDE Random123/philox.h REQUIRED)
if(DINOXX_TESTS)
  find_package(GTest REQUIRED)
endif()
if(DINOXX_BENCH)
  find_package(benchmark QUIET)
endif()
