# light fine-tuning by the program, its files in the other commands
dinoxx_test(finetune_program_test SOURCES end_to_end/finetune_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
set_tests_properties(finetune_program_test PROPERTIES PROCESSORS 2)
