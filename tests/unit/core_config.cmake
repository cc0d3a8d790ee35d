dinoxx_test(unit_safetensors SOURCES core/safetensors_test.cpp DEPS dinoxx_formats LABELS unit)
dinoxx_test(unit_normalization SOURCES core/normalization_test.cpp DEPS dinoxx_base LABELS unit)
dinoxx_test(unit_config SOURCES core/config_test.cpp DEPS dinoxx_config LABELS unit)
