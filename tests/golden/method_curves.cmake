include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_method_curves TORCH SOURCES train/method_curves_test.cpp DEPS dinoxx_step dinoxx_test_golden LABELS golden)
