# what a person is shown: neighbours, suspected labels, health and pictures of features, curves of rare classes
dinoxx_test(eval_evidence_test TORCH SOURCES eval/evidence_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(eval_evidence_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
