include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_statistics TORCH SOURCES eval/statistics_golden_test.cpp eval/transductive_golden_test.cpp eval/logistic_golden_test.cpp eval/ranking_curves_golden_test.cpp eval/multi_label_golden_test.cpp DEPS dinoxx_eval dinoxx_test_golden LABELS golden)
