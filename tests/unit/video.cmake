# labels that follow a video
dinoxx_test(unit_eval_video TORCH SOURCES eval/video_test.cpp eval/match_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(unit_eval_video PRIVATE ${PROJECT_SOURCE_DIR}/tests)
