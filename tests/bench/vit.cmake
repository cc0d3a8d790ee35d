# Backbones beside timm, asked call by call by vit_peer.py (vit.sh), not by ctest.
add_executable(dinoxx_bench_vit vit_bench.cpp)
target_link_libraries(dinoxx_bench_vit PRIVATE dinoxx_flags dinoxx_model)
target_precompile_headers(dinoxx_bench_vit REUSE_FROM dinoxx_torch_pch)
