# what a person is shown: neighbours, suspected labels, health and pictures of features, curves of rare classes
dinoxx_test(unit_eval_evidence TORCH SOURCES eval/evidence_test.cpp eval/flat_map_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(unit_eval_evidence PRIVATE ${PROJECT_SOURCE_DIR}/tests)
