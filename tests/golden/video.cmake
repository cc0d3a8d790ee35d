include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_video TORCH SOURCES eval/video_golden_test.cpp DEPS dinoxx_eval dinoxx_test_golden LABELS golden)
