# The operations of which networks are made: formula (any device, any type) and fused CPU kernels. The kernels are one text, compiled once per instruction set and chosen
# at run time; these files include no header with inline functions of the standard library or of LibTorch (see ops_simd.hpp).
set(MODEL_OPS_SOURCES ops.cpp ops_attention.cpp ops_block.cpp ops_formula.cpp ops_gemm.cpp ops_kernels.cpp ops_kernels_generic.cpp ops_linear.cpp ops_norm.cpp ops_pool.cpp ops_profile.cpp)

# -O3 unrolls the register blocks; products and sums may contract to fused multiply-add; errno and traps are of no use here
set(MODEL_OPS_KERNEL_FLAGS -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi)
set_source_files_properties(ops_kernels_generic.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${MODEL_OPS_KERNEL_FLAGS}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # GCC's own AVX-512 header starts from an uninitialised register on purpose
  set(avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512 -Wno-uninitialized -Wno-maybe-uninitialized)
  set_source_files_properties(ops_kernels_avx2.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${MODEL_OPS_KERNEL_FLAGS};-mavx2;-mfma")
  set_source_files_properties(ops_kernels_avx512.cpp ops_gemm_avx512.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${MODEL_OPS_KERNEL_FLAGS};${avx512}")
  set_source_files_properties(ops_kernels_avx512bf16.cpp ops_gemm_avx512bf16.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${MODEL_OPS_KERNEL_FLAGS};${avx512};-mavx512bf16")
  set_source_files_properties(ops_kernels.cpp ops_gemm.cpp PROPERTIES COMPILE_DEFINITIONS DINOXX_X86_KERNELS)
  list(APPEND MODEL_OPS_SOURCES ops_kernels_avx2.cpp ops_kernels_avx512.cpp ops_kernels_avx512bf16.cpp ops_gemm_avx512.cpp ops_gemm_avx512bf16.cpp)
endif()
