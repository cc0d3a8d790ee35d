# features that are kept, and the steps that training evaluates by
dinoxx_test(eval_frame_program_test SOURCES end_to_end/eval_frame_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
set_tests_properties(eval_frame_program_test PROPERTIES PROCESSORS 2)
