# What dinoxx doctor makes of facts and figures that are made up.
dinoxx_test(unit_doctor TORCH SOURCES doctor/system_text_test.cpp doctor/machine_findings_test.cpp doctor/measures_test.cpp DEPS dinoxx_doctor dinoxx_test_comm LABELS unit)
target_include_directories(unit_doctor PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
