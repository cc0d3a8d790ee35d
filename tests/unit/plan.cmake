# the plan of a training: against what was counted for every recipe, and cases by hand
dinoxx_test(unit_plan TORCH SOURCES plan/counted_test.cpp plan/rules_test.cpp DEPS dinoxx_plan dinoxx_checkpoint dinoxx_test_comm LABELS unit)
target_include_directories(unit_plan PRIVATE ${PROJECT_SOURCE_DIR}/tests)
