# Convolutional backbones.
target_sources(dinoxx_model PRIVATE batch_norm.cpp convnext.cpp convnext_build.cpp resnet.cpp resnet_build.cpp)
