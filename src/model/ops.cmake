# The operations of which networks are made: formula (any device, any type) and fused CPU kernels. The kernels are one text, compiled
# once per instruction set and chosen at run time; these files include no header with inline functions of the standard library or of
# LibTorch (see ops_simd.hpp).
set(MODEL_OPS_SOURCES
  ops.cpp ops_attention.cpp ops_block.cpp ops_formula.cpp ops_gemm.cpp ops_kernels.cpp ops_kernels_generic.cpp ops_linear.cpp
  ops_norm.cpp ops_pool.cpp ops_profile.cpp)

# -O3 unrolls the register blocks; products and sums may contract to fused multiply-add; errno and traps are of no use here
set(MODEL_OPS_KERNEL_FLAGS -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi)
function(model_ops_kernel)
  cmake_parse_arguments(K "" "" "SOURCES;FLAGS" ${ARGN})
  set_source_files_properties(${K_SOURCES} PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${MODEL_OPS_KERNEL_FLAGS};${K_FLAGS}")
endfunction()
model_ops_kernel(SOURCES ops_kernels_generic.cpp)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # GCC's own AVX-512 header starts from an uninitialised register on purpose
  set(avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512 -Wno-uninitialized
    -Wno-maybe-uninitialized)
  model_ops_kernel(SOURCES ops_kernels_avx2.cpp FLAGS -mavx2 -mfma)
  model_ops_kernel(SOURCES ops_kernels_avx512.cpp ops_gemm_avx512.cpp FLAGS ${avx512})
  model_ops_kernel(SOURCES ops_kernels_avx512bf16.cpp ops_gemm_avx512bf16.cpp FLAGS ${avx512} -mavx512bf16)
  set_source_files_properties(ops_kernels.cpp ops_gemm.cpp PROPERTIES COMPILE_DEFINITIONS DINOXX_X86_KERNELS)
  list(APPEND MODEL_OPS_SOURCES
    ops_kernels_avx2.cpp ops_kernels_avx512.cpp ops_kernels_avx512bf16.cpp ops_gemm_avx512.cpp ops_gemm_avx512bf16.cpp)
endif()
