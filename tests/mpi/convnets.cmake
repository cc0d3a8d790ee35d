include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
add_mpi_test(mpi_batch_norm TORCH SOURCES model/batch_norm_test.cpp DEPS dinoxx_model dinoxx_test_golden NP 1 2 3 4)
