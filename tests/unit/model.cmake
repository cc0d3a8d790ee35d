include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
dinoxx_test(unit_vit TORCH
  SOURCES model/vit_test.cpp model/vit_family_test.cpp model/vit_init_test.cpp model/recompute_test.cpp model/held_weights_test.cpp model/conv_stem_test.cpp model/head_test.cpp model/weights_test.cpp model/recognize_test.cpp model/facts_test.cpp model/facts_values_test.cpp
  DEPS dinoxx_model dinoxx_test_golden LABELS unit)
dinoxx_test(unit_foreign_weights TORCH SOURCES model/foreign_weights_test.cpp DEPS dinoxx_model dinoxx_test_golden LABELS unit)
target_include_directories(unit_foreign_weights PRIVATE ${PROJECT_SOURCE_DIR}/tests)
dinoxx_test(unit_dino_loss TORCH SOURCES model/dino_loss_test.cpp DEPS dinoxx_loss dinoxx_test_golden LABELS unit)
dinoxx_test(unit_method TORCH SOURCES model/method_test.cpp method/refusals_test.cpp method/resolutions_test.cpp method/recipes_test.cpp
  method/resolve_test.cpp method/keys_test.cpp method/names_test.cpp DEPS dinoxx_method dinoxx_step dinoxx_train dinoxx_test_golden
  LABELS unit)
