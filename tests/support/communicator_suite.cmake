# Ranks as threads, and what every communicator must do.
include_guard(GLOBAL)
add_library(dinoxx_test_comm STATIC ${PROJECT_SOURCE_DIR}/tests/support/thread_ranks.cpp ${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cpp)
target_include_directories(dinoxx_test_comm PUBLIC ${PROJECT_SOURCE_DIR}/tests/support)
target_precompile_headers(dinoxx_test_comm REUSE_FROM dinoxx_torch_pch)
target_link_libraries(dinoxx_test_comm PUBLIC dinoxx_flags dinoxx_comm GTest::gtest GTest::gmock)
