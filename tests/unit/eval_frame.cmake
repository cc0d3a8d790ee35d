# the frame of the evaluation: features on disk, progress, odd sizes
dinoxx_test(eval_frame_test TORCH SOURCES eval/feature_cache_test.cpp eval/odd_sizes_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(eval_frame_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
