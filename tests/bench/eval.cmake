# k-NN beside a plain product with top-k, and a path of logistic regression beside scikit-learn's (linear.sh).
add_executable(dinoxx_bench_eval eval_bench.cpp)
target_link_libraries(dinoxx_bench_eval PRIVATE dinoxx_flags dinoxx_eval)
target_precompile_headers(dinoxx_bench_eval REUSE_FROM dinoxx_torch_pch)
