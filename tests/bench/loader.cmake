# Loader throughput; run by loader.sh beside loader_peer.py, not by ctest.
add_executable(dinoxx_bench_loader loader_bench.cpp)
target_link_libraries(dinoxx_bench_loader PRIVATE dinoxx_flags dinoxx_data)
