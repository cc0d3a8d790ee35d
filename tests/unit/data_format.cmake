dinoxx_test(core_basics_test SOURCES core/crc32c_test.cpp core/error_test.cpp core/files_test.cpp DEPS dinoxx_core LABELS unit)
