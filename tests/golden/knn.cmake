dinoxx_test(knn_golden_test TORCH SOURCES eval/knn_golden_test.cpp DEPS dinoxx_eval LABELS golden)
target_compile_definitions(knn_golden_test PRIVATE DINOXX_GOLDEN_DIR="${CMAKE_CURRENT_SOURCE_DIR}/data")
