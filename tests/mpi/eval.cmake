add_mpi_test(eval_mpi_test TORCH SOURCES eval/eval_mpi_test.cpp DEPS dinoxx_eval NP 1 2 3 4 7)
target_include_directories(eval_mpi_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
