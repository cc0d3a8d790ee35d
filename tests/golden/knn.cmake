dinoxx_test(knn_golden_test TORCH SOURCES eval/knn_golden_test.cpp DEPS dinoxx_eval LABELS golden)
