dinoxx_test(core_safetensors_test SOURCES core/safetensors_test.cpp DEPS dinoxx_core LABELS unit)
