include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
dinoxx_test(golden_loss TORCH SOURCES loss/dino_loss_test.cpp loss/losses_test.cpp DEPS dinoxx_loss dinoxx_test_golden dinoxx_test_comm LABELS golden)
