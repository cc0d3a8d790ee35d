# report and compare as a user runs them; pages validated by tidy and looked at in Chromium where these are installed (launch/setup.sh --tests)
find_program(DINOXX_TIDY tidy)
find_program(DINOXX_CHROMIUM NAMES chromium chromium-headless-shell chromium-browser google-chrome)
foreach(test report_command report_pages)
  dinoxx_test(integration_${test} SOURCES end_to_end/${test}_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
  set_tests_properties(integration_${test} PROPERTIES PROCESSORS 2)
  target_compile_definitions(integration_${test} PRIVATE DINOXX_TIDY="$<$<BOOL:${DINOXX_TIDY}>:${DINOXX_TIDY}>" DINOXX_CHROMIUM="$<$<BOOL:${DINOXX_CHROMIUM}>:${DINOXX_CHROMIUM}>")
endforeach()
# ctest says Skipped, too: a program of one test that skips only where nothing has failed, so that nothing can hide behind it. All that needs
# tidy or Chromium is in it: integration_report_command never skips.
set_tests_properties(integration_report_pages PROPERTIES SKIP_REGULAR_EXPRESSION "SKIPPED")
