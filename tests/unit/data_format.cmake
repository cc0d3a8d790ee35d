dinoxx_test(unit_base SOURCES ${CMAKE_CURRENT_LIST_DIR}/core/crc32c_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/error_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/failure_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/files_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/progress_line_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/signals_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core/utf8_test.cpp DEPS dinoxx_base LABELS unit)

dinoxx_test(unit_data_format SOURCES ${CMAKE_CURRENT_LIST_DIR}/data/shard_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/toy_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/data/pack_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/decode_faults_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/groups_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/names_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/preflight_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/split_folders_test.cpp ${CMAKE_CURRENT_LIST_DIR}/data/pack_again_test.cpp DEPS dinoxx_data dinoxx_formats LABELS unit)
target_include_directories(unit_data_format PRIVATE ${PROJECT_SOURCE_DIR}/tests)
