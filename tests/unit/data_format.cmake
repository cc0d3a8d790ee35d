dinoxx_test(core_basics_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/core/crc32c_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/error_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/files_test.cpp DEPS dinoxx_base LABELS unit)

dinoxx_test(data_format_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/data/shard_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/toy_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/data/pack_test.cpp DEPS dinoxx_data LABELS unit)
target_include_directories(data_format_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
