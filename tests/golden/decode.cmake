dinoxx_test(golden_decode SOURCES ${CMAKE_CURRENT_LIST_DIR}/decode_test.cpp DEPS dinoxx_data dinoxx_formats LABELS golden)
