# A folder of pictures: embed, predict and launch/evaluate.sh.
dinoxx_test(folder_test SOURCES end_to_end/folder_test.cpp DEPS dinoxx_test_program dinoxx_data LABELS integration TIMEOUT 600)
add_test(NAME evaluate_test COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/evaluate_test.sh ${PROJECT_SOURCE_DIR} $<TARGET_FILE:dinoxx>)
set_tests_properties(evaluate_test PROPERTIES LABELS integration TIMEOUT 300)
set_tests_properties(folder_test evaluate_test PROPERTIES PROCESSORS 2)
