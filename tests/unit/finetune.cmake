# light fine-tuning
dinoxx_test(unit_eval_finetune TORCH SOURCES eval/finetune_test.cpp eval/tuned_network_test.cpp eval/finetune_files_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(unit_eval_finetune PRIVATE ${PROJECT_SOURCE_DIR}/tests)
