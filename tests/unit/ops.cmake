# The operations of which networks are made: fused kernels against the ATen formula and float64.
dinoxx_test(unit_ops TORCH SOURCES model/ops_kernels_test.cpp model/ops_block_test.cpp model/ops_gemm_test.cpp DEPS dinoxx_ops LABELS unit)
# the same comparisons on the instruction sets that this processor would not choose
foreach(level generic avx2 avx512)
  add_test(NAME unit_ops_${level} COMMAND unit_ops)
  set_tests_properties(unit_ops_${level} PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT "OMP_NUM_THREADS=1;DINOXX_SIMD=${level}"
    SKIP_REGULAR_EXPRESSION "DINOXX_SIMD: expected at most [a-z0-9]+, which is what this processor has")
endforeach()
