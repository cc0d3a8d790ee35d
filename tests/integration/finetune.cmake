# light fine-tuning by the program, its files in the other commands
dinoxx_test(integration_finetune SOURCES end_to_end/finetune_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
set_tests_properties(integration_finetune PROPERTIES PROCESSORS 2)
