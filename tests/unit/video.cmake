# labels that follow a film
dinoxx_test(eval_video_test TORCH SOURCES eval/video_test.cpp eval/match_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(eval_video_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
