# dino_loss beside its ATen formula and beside the copy of as many bytes; all terms of DINOv2 with many prototypes, with peak memory.
if(benchmark_FOUND)
  foreach(bench loss loss_terms)
    add_executable(dinoxx_bench_${bench} ${bench}_bench.cpp)
    target_link_libraries(dinoxx_bench_${bench} PRIVATE dinoxx_flags dinoxx_loss benchmark::benchmark)
    target_precompile_headers(dinoxx_bench_${bench} REUSE_FROM dinoxx_torch_pch)
  endforeach()
endif()
