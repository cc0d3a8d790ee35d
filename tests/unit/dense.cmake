# dense features: linear segmentation, attention against masks
dinoxx_test(eval_linseg_test TORCH SOURCES eval/linseg_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(eval_linseg_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
