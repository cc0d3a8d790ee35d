# One level for all kernels, once for each that DINOXX_SIMD may name; a level that this processor lacks is skipped.
dinoxx_test(unit_kernels TORCH SOURCES kernels/levels_test.cpp DEPS dinoxx_loss dinoxx_optim dinoxx_data LABELS unit)
foreach(level generic avx2 avx512 avx512vnni avx512bf16)
  add_test(NAME unit_kernels_${level} COMMAND unit_kernels)
  set_tests_properties(unit_kernels_${level} PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT "${DINOXX_TEST_ENVIRONMENT};DINOXX_SIMD=${level}"
    SKIP_REGULAR_EXPRESSION "DINOXX_SIMD: expected at most [a-z0-9]+, which is what this processor has")
endforeach()
# The CUDA kernels as a CPU instance: the .cu files behind a header that stands in for CUDA's, without fused multiply-adds as nvcc is told. No toolkit needed.
# A load of 16 bytes from elsewhere than a multiple of 16 ends the program, as on a GPU.
set(cuda_kernels ${PROJECT_SOURCE_DIR}/src/optim/cuda/adamw_kernels.cu ${PROJECT_SOURCE_DIR}/src/parallel/gather_kernels.cu
  ${PROJECT_SOURCE_DIR}/src/step/figures_kernels.cu)
set(cuda_optimizer ${PROJECT_SOURCE_DIR}/src/optim/cuda/norm_kernels.cu ${PROJECT_SOURCE_DIR}/src/optim/cuda/sgd_kernels.cu)
set_source_files_properties(${cuda_kernels} ${cuda_optimizer} PROPERTIES LANGUAGE CXX SKIP_PRECOMPILE_HEADERS ON
  COMPILE_OPTIONS "-ffp-contract=off;-Wno-unknown-pragmas;-fsanitize=alignment;-fsanitize-undefined-trap-on-error")
dinoxx_test(unit_cuda_kernels SOURCES optim/cuda_kernels_test.cpp parallel/gather_kernels_test.cpp step/figures_kernels_test.cpp
  ${cuda_kernels} ${PROJECT_SOURCE_DIR}/src/step/figure_table.cpp DEPS dinoxx_kernels LABELS unit)
target_include_directories(unit_cuda_kernels BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/cuda_on_cpu)
# The blocks of a transformer as a GPU runs them: nodes and kernels as CPU instances, in the place of what a build without CUDA has.
file(GLOB packed ${PROJECT_SOURCE_DIR}/src/ops/packed/*.cpp ${PROJECT_SOURCE_DIR}/src/ops/pixels/*.cpp)
list(FILTER packed EXCLUDE REGEX absent)
file(GLOB packed_kernels ${PROJECT_SOURCE_DIR}/src/ops/packed/*.cu ${PROJECT_SOURCE_DIR}/src/ops/pixels/*.cu)
set_source_files_properties(${packed_kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS -Wno-unknown-pragmas SKIP_PRECOMPILE_HEADERS ON)
dinoxx_test(unit_cuda_blocks TORCH SOURCES model/packed_test.cpp model/packed_networks_test.cpp ${packed} ${packed_kernels} ${PROJECT_SOURCE_DIR}/tests/support/cuda_on_cpu/stream.cpp
  DEPS dinoxx_model dinoxx_test_golden LABELS unit TIMEOUT 300)
target_include_directories(unit_cuda_blocks BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/cuda_on_cpu)
# The losses as a GPU runs them, likewise.
include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
set(cuda_losses ${PROJECT_SOURCE_DIR}/src/loss/gpu)
set(cuda_loss_kernels ${cuda_losses}/column_kernels.cu ${cuda_losses}/koleo_kernels.cu ${cuda_losses}/prototype_loss_kernels.cu)
set_source_files_properties(${cuda_loss_kernels} PROPERTIES LANGUAGE CXX SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS -Wno-unknown-pragmas)  # of nvcc: unroll
dinoxx_test(unit_cuda_losses TORCH SOURCES loss/cuda_losses_test.cpp loss/cuda_koleo_test.cpp ${cuda_loss_kernels} ${cuda_losses}/koleo_cuda.cpp
  ${cuda_losses}/prototype_cuda.cpp ${PROJECT_SOURCE_DIR}/tests/support/cuda_on_cpu/stream.cpp DEPS dinoxx_loss dinoxx_test_golden LABELS unit)
target_include_directories(unit_cuda_losses BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/cuda_on_cpu)
set_source_files_properties(${token_kernels} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
# And with the code that launches them, on tensors in host memory.
dinoxx_test(unit_cuda_optimizer TORCH SOURCES optim/flat_cuda_test.cpp ${PROJECT_SOURCE_DIR}/src/optim/cuda/flat_cuda.cpp ${cuda_optimizer}
  ${PROJECT_SOURCE_DIR}/tests/support/cuda_on_cpu/stream.cpp DEPS dinoxx_optim dinoxx_test_gradients LABELS unit)
target_include_directories(unit_cuda_optimizer BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/cuda_on_cpu)
