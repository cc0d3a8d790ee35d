add_mpi_test(mpi_doctor TORCH SOURCES doctor/doctor_test.cpp DEPS dinoxx_doctor NP 1 2 3)
