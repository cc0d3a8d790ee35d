string(REPLACE ";" " " train_mpi_flags "${DINOXX_MPIEXEC_TEST_FLAGS}")  # one word for the script
# Runs of the real program. Each case has a folder of its own and waits for events, never for a time.
foreach(case resume_1 resume_2 ranks rank_groups eval not_a_number collapse records)
  add_test(NAME integration_train_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/train.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_train_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
foreach(case hosts start_lines check init_from imported_eval)
  add_test(NAME integration_train_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/start.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_train_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
foreach(case usr1_1 usr1_2 early closed_output complete term max_time eval_after_stop left_branch)
  add_test(NAME integration_train_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/stop.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_train_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
foreach(case methods resolutions stages students)
  add_test(NAME integration_train_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/methods.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_train_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
foreach(case other_weights features)
  add_test(NAME integration_adapt_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/adapt.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_adapt_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
# The quick start's configuration, as long as it runs there.
foreach(case quickstart collapse)
  add_test(NAME integration_learn_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/learn.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_learn_${case} PROPERTIES LABELS integration TIMEOUT 600 PROCESSORS 2)
endforeach()
# one level of instruction sets for the whole program
foreach(case refused levels)
  add_test(NAME integration_simd_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/simd.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_simd_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
# The commands of README.md and docs, as printed.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration_documented COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/documented/documented_test.py $<TARGET_FILE:dinoxx> ${PROJECT_SOURCE_DIR}
  ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}")
# The table of every recipe's plan, as docs/plan.md has it.
add_test(NAME integration_plan_table COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/plan_table.py $<TARGET_FILE:dinoxx> ${PROJECT_SOURCE_DIR})
set_tests_properties(integration_plan_table PROPERTIES LABELS integration TIMEOUT 300)
set_tests_properties(integration_documented PROPERTIES LABELS integration TIMEOUT 600 PROCESSORS 2)
# Options and keys that messages name.
add_test(NAME integration_advice COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/documented/advice_test.py $<TARGET_FILE:dinoxx> ${PROJECT_SOURCE_DIR})
set_tests_properties(integration_advice PROPERTIES LABELS integration TIMEOUT 120)
# The recipes of the 7B network, small.
foreach(case policies stages)
  add_test(NAME integration_vit7b_${case} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/train/published.sh $<TARGET_FILE:dinoxx> ${MPIEXEC_EXECUTABLE} "${train_mpi_flags}" ${case})
  set_tests_properties(integration_vit7b_${case} PROPERTIES LABELS integration TIMEOUT 300 PROCESSORS 2)
endforeach()
