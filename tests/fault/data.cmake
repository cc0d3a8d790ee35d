dinoxx_test(fault_data SOURCES ${CMAKE_CURRENT_LIST_DIR}/data/bad_input_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/pack_input_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/data/pack_output_test.cpp DEPS dinoxx_data dinoxx_formats LABELS fault)
target_include_directories(fault_data PRIVATE ${PROJECT_SOURCE_DIR}/tests)
add_test(NAME fault_pack_command COMMAND ${CMAKE_CURRENT_LIST_DIR}/data/pack_command_test.sh $<TARGET_FILE:dinoxx>)
set_tests_properties(fault_pack_command PROPERTIES LABELS fault TIMEOUT 120 ENVIRONMENT "OMP_NUM_THREADS=1")
