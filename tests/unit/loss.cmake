# the losses' kernels, edges and refusals; dino_loss: model.cmake
include(${PROJECT_SOURCE_DIR}/tests/golden/support.cmake)
include(${PROJECT_SOURCE_DIR}/tests/support/communicator_suite.cmake)
dinoxx_test(unit_losses TORCH SOURCES loss/assignment_test.cpp loss/decorrelation_test.cpp loss/match_test.cpp loss/patch_loss_test.cpp loss/regularizers_test.cpp loss/scores_test.cpp loss/monitors_test.cpp
  DEPS dinoxx_loss dinoxx_test_golden dinoxx_test_comm LABELS unit)
target_include_directories(unit_losses PRIVATE ${PROJECT_SOURCE_DIR}/src/loss)  # the kernels, level by level
