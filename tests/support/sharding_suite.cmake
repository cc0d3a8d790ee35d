# Steps whose state is spread over ranks, on any communicator.
include_guard(GLOBAL)
include(${CMAKE_CURRENT_LIST_DIR}/communicator_suite.cmake)
add_library(dinoxx_test_sharding STATIC ${PROJECT_SOURCE_DIR}/tests/support/sharding_suite.cpp)
target_precompile_headers(dinoxx_test_sharding REUSE_FROM dinoxx_torch_pch)
target_link_libraries(dinoxx_test_sharding PUBLIC dinoxx_test_comm dinoxx_checkpoint)
target_include_directories(dinoxx_test_sharding PUBLIC ${PROJECT_SOURCE_DIR}/tests)
