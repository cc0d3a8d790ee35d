string(REPLACE ";" " " train_mpi_flags "${DINOXX_MPIEXEC_TEST_FLAGS}")  # one word for the script
set(train_cases usage_1 usage_2 once locked never unwritable full_disk damaged other_model launcher dead_rank)
if(NOT DINOXX_SANITIZE)
  list(APPEND train_cases memory)  # a limit of addresses leaves no room for the sanitizers' own
endif()
foreach(case IN LISTS train_cases)
  add_test(NAME fault_train_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train_faults.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(fault_train_${case} PROPERTIES LABELS fault TIMEOUT 300 PROCESSORS 2)
endforeach()
