# The parsers of weight files on mutated bytes. They are compiled here again, with coverage, so that the fuzzer can tell new code from old.
# Ten minutes each, as an untrusted-input parser deserves before a release:
#   cmake --preset asan && cmake --build --preset asan --target fuzz_weights
#   for t in safetensors torch_archive torch_pickle torch_legacy distributed; do
#     build/asan/tests/fault/fuzz_weights $t --seconds 600 --crash /tmp/crash_$t $(find tests/golden/data/weight_files -type f -size -64k)
#   done
# With Clang, libFuzzer programs are built as well: fuzz_weights_<entry> -max_total_time=600 FOLDER, of which fuzz_weights ... --keep FOLDER
# makes the first content.
set(fuzz_parsers base/crc32c base/error base/files base/json_text base/mapped_file base/regular_file base/utf8 formats/safetensors formats/strict_json formats/weight_file formats/weight_file_shards
  formats/weight_file_distributed formats/distributed_checkpoint formats/torch_archive formats/torch_legacy formats/torch_tree
  formats/zip_archive formats/pickle formats/pickle_call formats/pickle_globals)
list(TRANSFORM fuzz_parsers REPLACE "(.+)" "${PROJECT_SOURCE_DIR}/src/\\1.cpp")

function(dinoxx_fuzz_program name)
  add_executable(${name} ${ARGN} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/fuzz_weights.cpp ${fuzz_parsers})
  target_link_libraries(${name} PRIVATE dinoxx_flags dinoxx_cpu_level fmt::fmt nlohmann_json::nlohmann_json)
endfunction()

dinoxx_fuzz_program(fuzz_weights ${CMAKE_CURRENT_LIST_DIR}/fuzz_driver.cpp)
target_compile_options(fuzz_weights PRIVATE -fsanitize-coverage=trace-pc)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/fuzz_driver.cpp PROPERTIES COMPILE_OPTIONS -fno-sanitize-coverage=trace-pc)

file(GLOB_RECURSE fuzz_seeds CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/golden/data/weight_files/*)
foreach(target safetensors torch_archive torch_pickle torch_legacy distributed)
  add_test(NAME fault_fuzz_weights_${target} COMMAND fuzz_weights ${target} --runs 3000 ${fuzz_seeds})
  set_tests_properties(fault_fuzz_weights_${target} PROPERTIES LABELS fault TIMEOUT 300 ENVIRONMENT "${DINOXX_TEST_ENVIRONMENT}")
  if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
    dinoxx_fuzz_program(fuzz_weights_${target})
    target_compile_definitions(fuzz_weights_${target} PRIVATE DINOXX_FUZZ_ENTRY=${target})
    target_compile_options(fuzz_weights_${target} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_weights_${target} PRIVATE -fsanitize=fuzzer)
  endif()
endforeach()
