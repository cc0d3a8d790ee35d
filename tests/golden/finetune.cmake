include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
dinoxx_test(golden_finetune TORCH SOURCES eval/finetune_golden_test.cpp DEPS dinoxx_eval dinoxx_test_golden dinoxx_test_comm LABELS golden)
