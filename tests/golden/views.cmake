dinoxx_test(golden_views SOURCES views/blur_test.cpp views/masks_test.cpp DEPS dinoxx_data dinoxx_formats LABELS golden)
