# losses for labelled images; the heads of the sweep; few-shot classifiers
include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_supervised TORCH SOURCES loss/supervised_test.cpp DEPS dinoxx_loss dinoxx_test_golden LABELS golden)
dinoxx_test(golden_sweep TORCH SOURCES eval/sweep_golden_test.cpp eval/few_golden_test.cpp DEPS dinoxx_eval dinoxx_test_golden LABELS golden)
