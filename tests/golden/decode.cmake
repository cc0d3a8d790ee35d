dinoxx_test(golden_decode SOURCES ${CMAKE_CURRENT_LIST_DIR}/decode_test.cpp DEPS dinoxx_data LABELS golden)
target_compile_definitions(golden_decode PRIVATE DINOXX_GOLDEN_DIR="${CMAKE_CURRENT_LIST_DIR}/data")
