# Fixtures and comparison for golden tests; other tests use the comparison alone.
include_guard(GLOBAL)
add_library(dinoxx_test_golden STATIC ${PROJECT_SOURCE_DIR}/tests/support/golden.cpp)
target_include_directories(dinoxx_test_golden PUBLIC ${PROJECT_SOURCE_DIR}/tests/support)
target_link_libraries(dinoxx_test_golden PUBLIC dinoxx_flags dinoxx_model dinoxx_test_source_dir GTest::gtest)
