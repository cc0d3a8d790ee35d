add_mpi_test(mpi_step_test TORCH SOURCES step/step_test.cpp DEPS dinoxx_step NP 1 2 3 4)
target_include_directories(mpi_step_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
add_mpi_test(mpi_students_test TORCH SOURCES step/students_test.cpp DEPS dinoxx_step NP 1 2 3 4)
target_include_directories(mpi_students_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
