foreach(part weight_file weight_file_hostile safetensors_weights)
  dinoxx_test(unit_${part} SOURCES core/${part}_test.cpp DEPS dinoxx_formats LABELS unit)
  target_include_directories(unit_${part} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
endforeach()
