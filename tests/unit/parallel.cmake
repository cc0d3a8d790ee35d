include(${PROJECT_SOURCE_DIR}/tests/support/gradient_suite.cmake)
dinoxx_test(unit_communicator TORCH SOURCES comm/thread_communicator_test.cpp comm/launch_test.cpp DEPS dinoxx_test_comm LABELS unit)
dinoxx_test(unit_parallel TORCH SOURCES parallel/layout_test.cpp parallel/gradient_sync_test.cpp DEPS dinoxx_test_gradients LABELS unit)
dinoxx_test(unit_optimizer TORCH SOURCES optim/optimizer_test.cpp optim/rules_test.cpp DEPS dinoxx_optim dinoxx_test_gradients LABELS unit)
