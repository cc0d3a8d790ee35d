include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_loss TORCH SOURCES loss/dino_loss_test.cpp DEPS dinoxx_loss dinoxx_test_golden LABELS golden)
