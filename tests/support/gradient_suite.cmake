# Gradient averaging on any communicator.
include_guard(GLOBAL)
include(${CMAKE_CURRENT_LIST_DIR}/communicator_suite.cmake)
add_library(dinoxx_test_gradients STATIC ${PROJECT_SOURCE_DIR}/tests/support/gradient_suite.cpp)
target_precompile_headers(dinoxx_test_gradients REUSE_FROM dinoxx_torch_pch)
target_link_libraries(dinoxx_test_gradients PUBLIC dinoxx_test_comm dinoxx_parallel)
