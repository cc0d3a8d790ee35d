# A folder of pictures: embed, predict and launch/evaluate.sh.
dinoxx_test(integration_folder SOURCES end_to_end/folder_test.cpp end_to_end/folder_unknown_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
# Lists with several labels an image, and with several columns of labels.
dinoxx_test(integration_label_lists SOURCES end_to_end/label_lists_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
dinoxx_test(integration_label_columns SOURCES end_to_end/label_columns_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
# What is deployed: the saved classifier, thresholds and costs.
dinoxx_test(integration_deploy SOURCES end_to_end/classifier_test.cpp end_to_end/decision_rule_test.cpp end_to_end/readout_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
add_test(NAME integration_evaluate COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/evaluate_test.sh ${PROJECT_SOURCE_DIR} $<TARGET_FILE:dinoxx>)
set_tests_properties(integration_evaluate PROPERTIES LABELS integration TIMEOUT 300)
set_tests_properties(integration_folder integration_label_lists integration_deploy integration_evaluate PROPERTIES PROCESSORS 2)
