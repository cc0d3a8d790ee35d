# One level for all kernels, once for each that DINOXX_SIMD may name; a level that this processor lacks is skipped.
dinoxx_test(unit_kernels TORCH SOURCES kernels/levels_test.cpp DEPS dinoxx_loss dinoxx_optim dinoxx_data LABELS unit)
foreach(level generic avx2 avx512 avx512vnni avx512bf16)
  add_test(NAME unit_kernels_${level} COMMAND unit_kernels)
  set_tests_properties(unit_kernels_${level} PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT "${DINOXX_TEST_ENVIRONMENT};DINOXX_SIMD=${level}"
    SKIP_REGULAR_EXPRESSION "DINOXX_SIMD: expected at most [a-z0-9]+, which is what this processor has")
endforeach()
