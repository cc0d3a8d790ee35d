dinoxx_test(core_weight_file_test SOURCES core/weight_file_test.cpp DEPS dinoxx_core LABELS unit)
target_include_directories(core_weight_file_test PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src/core)
target_compile_definitions(core_weight_file_test PRIVATE DINOXX_WEIGHT_FILES_DIR="${PROJECT_SOURCE_DIR}/tests/golden/data/weight_files")
