# dense features: linear segmentation, attention against masks
dinoxx_test(unit_eval_linseg TORCH SOURCES eval/linseg_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(unit_eval_linseg PRIVATE ${PROJECT_SOURCE_DIR}/tests)
