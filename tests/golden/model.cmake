include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_model TORCH SOURCES model/vit_test.cpp model/head_test.cpp model/multi_crop_test.cpp model/vit_family_test.cpp model/published_test.cpp model/families_test.cpp DEPS dinoxx_method dinoxx_test_golden LABELS golden)
