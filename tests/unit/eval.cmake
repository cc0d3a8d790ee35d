# evaluation: k-NN, metrics, statistics, choice of images, features, the protocols and the probe
include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
dinoxx_test(unit_eval_knn TORCH SOURCES eval/knn_test.cpp eval/metrics_test.cpp eval/eval_data_test.cpp eval/statistics_test.cpp eval/resampling_test.cpp eval/zero_test.cpp eval/multiple_tests_test.cpp eval/several_test.cpp DEPS dinoxx_eval LABELS unit)
dinoxx_test(unit_eval_suite TORCH SOURCES eval/blocks_test.cpp eval/features_test.cpp eval/readout_test.cpp eval/knn_suite_test.cpp eval/evaluate_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
dinoxx_test(unit_eval_ladder TORCH SOURCES eval/ladder_test.cpp eval/checks_test.cpp eval/copies_test.cpp eval/undefined_test.cpp eval/folds_test.cpp eval/held_out_test.cpp eval/decision_test.cpp eval/ordered_test.cpp eval/subgroups_test.cpp eval/multi_label_test.cpp eval/more_images_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
foreach(test unit_eval_knn unit_eval_suite unit_eval_ladder)
  target_include_directories(${test} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
endforeach()
# what a network's file says of its input, in all commands
dinoxx_test(unit_eval_normalization TORCH SOURCES eval/normalization_test.cpp DEPS dinoxx_eval LABELS unit)
target_include_directories(unit_eval_normalization PRIVATE ${PROJECT_SOURCE_DIR}/tests)
