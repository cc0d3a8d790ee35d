dinoxx_test(core_safetensors_test SOURCES core/safetensors_test.cpp DEPS dinoxx_formats LABELS unit)
dinoxx_test(core_config_test SOURCES core/config_test.cpp DEPS dinoxx_config LABELS unit)
