include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(golden_convnets TORCH SOURCES model/convnet_convnext_test.cpp model/convnet_resnet_test.cpp DEPS dinoxx_model dinoxx_test_golden LABELS golden TIMEOUT 600)
