add_mpi_test(mpi_step TORCH SOURCES step/step_test.cpp DEPS dinoxx_step NP 1 2 3 4)
target_include_directories(mpi_step PRIVATE ${PROJECT_SOURCE_DIR}/tests)
add_mpi_test(mpi_students TORCH SOURCES step/students_test.cpp DEPS dinoxx_step NP 1 2 3 4)
target_include_directories(mpi_students PRIVATE ${PROJECT_SOURCE_DIR}/tests)
