# reports: run folders side by side, reports of runs and evaluations
dinoxx_test(unit_report SOURCES report/run_record_test.cpp report/compare_test.cpp report/comparison_test.cpp report/html_test.cpp report/run_report_test.cpp
  report/eval_report_test.cpp report/eval_verdict_test.cpp report/eval_odd_results_test.cpp DEPS dinoxx_report LABELS unit)
target_include_directories(unit_report PRIVATE ${PROJECT_SOURCE_DIR}/tests)
