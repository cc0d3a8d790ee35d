add_mpi_test(mpi_harness SOURCES harness_test.cpp NP 1 2 3 4)

# The harness must also say no. Each of these runs has to end with a failure and its message.
function(add_harness_failure name message)
  add_test(NAME mpi_harness_${name} COMMAND ${CMAKE_COMMAND} -E env ${DINOXX_TEST_ENVIRONMENT} ${ARGN} ${MPIEXEC_EXECUTABLE} ${DINOXX_MPIEXEC_TEST_FLAGS} -n 2
    sh -c "\"$0\"; code=$?; [ $code = 0 ] && echo 'THE HARNESS PASSED' && exit 0; exit $code" $<TARGET_FILE:mpi_harness>)
  set_tests_properties(mpi_harness_${name} PROPERTIES LABELS mpi TIMEOUT 60 PROCESSORS 2 PASS_REGULAR_EXPRESSION "${message}" FAIL_REGULAR_EXPRESSION
    "THE HARNESS PASSED")
endfunction()
add_harness_failure(alone_fails "expected 3 MPI ranks" DINOXX_TEST_RANKS=3)
add_harness_failure(unset_fails "DINOXX_TEST_RANKS is not set" --unset=DINOXX_TEST_RANKS)
add_harness_failure(failure_on_one_rank_fails "rank 1 of 2. MpiHarness.LastRankFailsWhenTold" DINOXX_TEST_RANKS=2 DINOXX_HARNESS_FAIL=1)
add_harness_failure(hang_is_ended "HANG: " DINOXX_TEST_RANKS=2 DINOXX_HARNESS_HANG=1 DINOXX_TEST_HANG_SECONDS=2)
