# light fine-tuning
dinoxx_test(eval_finetune_test TORCH SOURCES eval/finetune_test.cpp DEPS dinoxx_eval dinoxx_test_comm LABELS unit)
target_include_directories(eval_finetune_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
