# losses over ranks
include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
add_mpi_test(mpi_losses TORCH SOURCES loss/losses_test.cpp DEPS dinoxx_loss dinoxx_test_golden NP 1 2 3 4)
