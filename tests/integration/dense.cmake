# dense features of a run, videos and pairs of images, as a user looks at them
dinoxx_test(integration_dense SOURCES end_to_end/dense_test.cpp end_to_end/video_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
set_tests_properties(integration_dense PROPERTIES PROCESSORS 2)
