add_mpi_test(mpi_eval TORCH SOURCES eval/eval_mpi_test.cpp DEPS dinoxx_eval NP 1 2 3 4 7)
target_include_directories(mpi_eval PRIVATE ${PROJECT_SOURCE_DIR}/tests)
