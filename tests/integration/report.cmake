# report and compare as a user runs them; pages checked by tidy and rendered by Chromium where these are installed
find_program(DINOXX_TIDY tidy)
find_program(DINOXX_CHROMIUM NAMES chromium chromium-browser google-chrome)
dinoxx_test(report_command_test SOURCES end_to_end/report_command_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
set_tests_properties(report_command_test PROPERTIES PROCESSORS 2)
target_compile_definitions(report_command_test PRIVATE DINOXX_TIDY="$<$<BOOL:${DINOXX_TIDY}>:${DINOXX_TIDY}>" DINOXX_CHROMIUM="$<$<BOOL:${DINOXX_CHROMIUM}>:${DINOXX_CHROMIUM}>")
