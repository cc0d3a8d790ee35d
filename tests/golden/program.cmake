# The program against make_program.py, and what that script reads.
include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
add_executable(program_inputs program/export_inputs.cpp)
target_link_libraries(program_inputs PRIVATE dinoxx_flags dinoxx_step)
target_precompile_headers(program_inputs REUSE_FROM dinoxx_torch_pch)
set_target_properties(program_inputs PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
dinoxx_test(golden_program TORCH SOURCES program/program_test.cpp DEPS dinoxx_test_golden dinoxx_test_program dinoxx_method dinoxx_data LABELS golden TIMEOUT 300)
set_tests_properties(golden_program PROPERTIES PROCESSORS 2)
