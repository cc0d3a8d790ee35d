dinoxx_test(data_fault_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/data/bad_input_test.cpp DEPS dinoxx_data LABELS fault)
target_include_directories(data_fault_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
add_test(NAME pack_command_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/data/pack_command_test.sh $<TARGET_FILE:dinoxx>)
set_tests_properties(pack_command_test PROPERTIES LABELS fault TIMEOUT 120 ENVIRONMENT "OMP_NUM_THREADS=1")
