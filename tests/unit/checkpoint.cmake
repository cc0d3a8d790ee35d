include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
dinoxx_test(unit_checkpoint TORCH SOURCES checkpoint/checkpoint_test.cpp DEPS dinoxx_checkpoint dinoxx_test_comm LABELS unit)
