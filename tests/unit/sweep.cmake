# samplers, the sweep of linear heads, and what is held out to choose on
include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
dinoxx_test(unit_eval_sweep TORCH SOURCES eval/samplers_test.cpp eval/sweep_test.cpp eval/held_units_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(unit_eval_sweep PRIVATE ${PROJECT_SOURCE_DIR}/tests)  # run_sweep
