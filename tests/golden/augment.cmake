dinoxx_test(golden_augment SOURCES augment_test.cpp DEPS dinoxx_data LABELS golden)
target_include_directories(golden_augment PRIVATE ${PROJECT_SOURCE_DIR}/data_pipeline)
