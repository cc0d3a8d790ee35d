dinoxx_test(golden_knn TORCH SOURCES eval/knn_golden_test.cpp DEPS dinoxx_eval LABELS golden)
