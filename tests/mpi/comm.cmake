include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
add_mpi_test(mpi_communicator TORCH SOURCES comm/communicator_test.cpp DEPS dinoxx_test_comm NP 1 2 3 4)

# Start-up: who is alone, who is not, and a launcher that does not know this MPI.
add_executable(mpi_runtime_probe comm/runtime_probe.cpp)
target_link_libraries(mpi_runtime_probe PRIVATE dinoxx_comm)
target_precompile_headers(mpi_runtime_probe REUSE_FROM dinoxx_torch_pch)
set(mpirun ${MPIEXEC_EXECUTABLE} ${DINOXX_MPIEXEC_TEST_FLAGS})
set(alone ${CMAKE_COMMAND} -E env --unset=OMPI_COMM_WORLD_SIZE --unset=PMI_SIZE --unset=MV2_COMM_WORLD_SIZE --unset=SLURM_STEP_NUM_TASKS)
function(add_startup_test name expected)
  add_test(NAME mpi_runtime_${name} COMMAND ${ARGN})
  set_tests_properties(mpi_runtime_${name} PROPERTIES LABELS mpi TIMEOUT 60 PROCESSORS 2 ENVIRONMENT OMP_NUM_THREADS=1 PASS_REGULAR_EXPRESSION "${expected}")
endfunction()
add_startup_test(alone "<self rank 0 of 1, local 0 of 1, sum of ranks 0>" ${alone} $<TARGET_FILE:mpi_runtime_probe>)
add_startup_test(mpirun_one "<self rank 0 of 1, local 0 of 1, sum of ranks 0>" ${mpirun} -n 1 $<TARGET_FILE:mpi_runtime_probe>)
add_startup_test(mpirun_three "<mpi rank 2 of 3, local 2 of 3, sum of ranks 3>" ${mpirun} -n 3 $<TARGET_FILE:mpi_runtime_probe>)
add_startup_test(foreign_launcher "MPI start-up: expected 4 ranks \\(SLURM_STEP_NUM_TASKS=4\\), found MPI counts 1 rank\\(s\\).*srun --mpi=pmix"
  ${alone} SLURM_STEP_NUM_TASKS=4 PMI_OF_ANOTHER_KIND=1 $<TARGET_FILE:mpi_runtime_probe>)
add_startup_test(no_pmi "MPI start-up: expected 4 ranks \\(SLURM_STEP_NUM_TASKS=4\\) with PMI.*found no PMI in the environment.*srun --mpi=pmix"
  ${alone} SLURM_STEP_NUM_TASKS=4 $<TARGET_FILE:mpi_runtime_probe>)
add_startup_test(abort_ends_all "<code 85>" sh -c "\"$@\" || echo \"<code $?>\"" sh ${mpirun} -n 3 $<TARGET_FILE:mpi_runtime_probe> abort)
