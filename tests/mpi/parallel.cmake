include(${PROJECT_SOURCE_DIR}/tests/support/gradient_suite.cmake)
add_mpi_test(mpi_gradient_sync TORCH SOURCES parallel/gradient_sync_test.cpp DEPS dinoxx_test_gradients NP 1 2 3 4)
