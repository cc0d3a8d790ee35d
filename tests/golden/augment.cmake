dinoxx_test(golden_augment SOURCES augment_test.cpp DEPS dinoxx_data dinoxx_formats LABELS golden)
