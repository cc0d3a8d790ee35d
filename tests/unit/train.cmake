dinoxx_test(train_test TORCH SOURCES train/train_test.cpp DEPS dinoxx_train LABELS unit)
