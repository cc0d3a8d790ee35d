include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_train_curve TORCH SOURCES train/train_curve_test.cpp DEPS dinoxx_step dinoxx_test_golden LABELS golden)
