# features that are kept, and the steps that training evaluates by
dinoxx_test(integration_eval_frame SOURCES end_to_end/eval_frame_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
set_tests_properties(integration_eval_frame PROPERTIES PROCESSORS 2)
