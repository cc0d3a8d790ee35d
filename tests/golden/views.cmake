dinoxx_test(golden_views SOURCES views/blur_test.cpp views/masks_test.cpp DEPS dinoxx_data LABELS golden)
target_compile_definitions(golden_views PRIVATE DINOXX_GOLDEN_DIR="${CMAKE_CURRENT_SOURCE_DIR}/data")
