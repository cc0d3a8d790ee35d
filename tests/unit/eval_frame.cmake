# the frame of the evaluation: features on disk, progress, odd sizes
dinoxx_test(unit_eval_frame TORCH SOURCES eval/feature_cache_test.cpp eval/odd_sizes_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(unit_eval_frame PRIVATE ${PROJECT_SOURCE_DIR}/tests)
