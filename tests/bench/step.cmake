# The whole training step, run by step.sh beside step_peer.py (not by ctest), and micro-benchmarks of the operations.
add_executable(dinoxx_bench_step step_bench.cpp)
target_link_libraries(dinoxx_bench_step PRIVATE dinoxx_flags dinoxx_step)
target_precompile_headers(dinoxx_bench_step REUSE_FROM dinoxx_torch_pch)
if(benchmark_FOUND)
  add_executable(dinoxx_bench_ops ops_bench.cpp)
  target_link_libraries(dinoxx_bench_ops PRIVATE dinoxx_flags dinoxx_ops benchmark::benchmark)
  target_precompile_headers(dinoxx_bench_ops REUSE_FROM dinoxx_torch_pch)
endif()
