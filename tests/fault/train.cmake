string(REPLACE ";" " " train_mpi_flags "${DINOXX_MPIEXEC_TEST_FLAGS}")  # one word for the script
set(train_cases usage_1 usage_2 once locked never unwritable full_disk damaged other_model launcher dead_rank)
if(NOT DINOXX_SANITIZE)
  list(APPEND train_cases memory)  # a limit of addresses leaves no room for the sanitizers' own
endif()
foreach(case IN LISTS train_cases)
  add_test(NAME fault_train_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train_faults.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(fault_train_${case} PROPERTIES LABELS fault TIMEOUT 300 PROCESSORS 2)
endforeach()
# Ranks that are killed in the middle of a save. (A library in front of the sanitizers' own is refused by them.)
if(NOT DINOXX_SANITIZE)
  add_library(die_in_call MODULE die_in_call.cpp)
  target_link_libraries(die_in_call PRIVATE dinoxx_flags ${CMAKE_DL_LIBS})
  set_target_properties(die_in_call PROPERTIES CXX_VISIBILITY_PRESET default)  # it stands in for functions of the C library
  foreach(case zero2 zero3)
    add_test(NAME fault_save_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/save_faults.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case}
      $<TARGET_FILE:die_in_call>)
    set_tests_properties(fault_save_${case} PROPERTIES LABELS fault TIMEOUT 300 PROCESSORS 2)
  endforeach()
endif()
