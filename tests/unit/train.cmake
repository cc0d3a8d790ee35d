dinoxx_test(unit_train TORCH SOURCES train/train_test.cpp DEPS dinoxx_train LABELS unit)
dinoxx_test(unit_frozen_teacher TORCH SOURCES train/frozen_teacher_test.cpp DEPS dinoxx_train LABELS unit)
target_include_directories(unit_frozen_teacher PRIVATE ${PROJECT_SOURCE_DIR}/tests)
