dinoxx_test(data_fault_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/data/bad_input_test.cpp DEPS dinoxx_data LABELS fault)
target_include_directories(data_fault_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
target_compile_definitions(data_fault_test PRIVATE DINOXX_GOLDEN_DIR="${PROJECT_SOURCE_DIR}/tests/golden/data")
