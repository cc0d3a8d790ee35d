include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_optim TORCH SOURCES optim/optim_test.cpp optim/optim_methods_test.cpp DEPS dinoxx_optim dinoxx_test_golden LABELS golden)
