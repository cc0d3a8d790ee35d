# convolutional backbones and batch normalisation over ranks
include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
dinoxx_test(unit_convnets TORCH SOURCES model/batch_norm_test.cpp model/resnet_test.cpp model/convnext_test.cpp
  DEPS dinoxx_model dinoxx_test_golden dinoxx_test_comm LABELS unit)
