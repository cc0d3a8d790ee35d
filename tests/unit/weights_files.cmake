foreach(part weight_file weight_file_hostile safetensors_weights)
  dinoxx_test(core_${part}_test SOURCES core/${part}_test.cpp DEPS dinoxx_formats LABELS unit)
  target_include_directories(core_${part}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
endforeach()
