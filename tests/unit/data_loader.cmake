# Augmentation, sampler, loader.
dinoxx_test(unit_data_loader SOURCES
  data_loader/sampler_test.cpp data_loader/kernels_test.cpp data_loader/views_test.cpp
  data_loader/profiles_test.cpp data_loader/masks_test.cpp data_loader/loader_test.cpp
  data_loader/resolutions_test.cpp
  DEPS dinoxx_data LABELS unit)
