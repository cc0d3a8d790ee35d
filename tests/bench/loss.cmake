# dino_loss beside its ATen formula and beside the copy of as many bytes.
if(benchmark_FOUND)
  add_executable(dinoxx_bench_loss loss_bench.cpp)
  target_link_libraries(dinoxx_bench_loss PRIVATE dinoxx_flags dinoxx_loss benchmark::benchmark)
  target_precompile_headers(dinoxx_bench_loss REUSE_FROM dinoxx_torch_pch)
endif()
