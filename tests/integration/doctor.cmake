# dinoxx doctor as a user runs it.
string(REPLACE ";" " " doctor_mpi_flags "${DINOXX_MPIEXEC_TEST_FLAGS}")
foreach(case text json refusals faults absent)
  add_test(NAME integration_doctor_${case} COMMAND ${CMAKE_CURRENT_LIST_DIR}/doctor_test.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${doctor_mpi_flags}" ${case})
  set_tests_properties(integration_doctor_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
