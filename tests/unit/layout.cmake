# The rules of docs/architecture.md, and its plan of the modules.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME unit_layout COMMAND ${Python3_EXECUTABLE} -B ${PROJECT_SOURCE_DIR}/tests/layout_test.py ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
add_test(NAME unit_module_plan COMMAND ${Python3_EXECUTABLE} -B ${PROJECT_SOURCE_DIR}/tests/module_plan.py ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
set_tests_properties(unit_layout unit_module_plan PROPERTIES LABELS unit TIMEOUT 60)
add_test(NAME unit_adding COMMAND ${Python3_EXECUTABLE} -B ${PROJECT_SOURCE_DIR}/tests/adding_test.py ${PROJECT_SOURCE_DIR})
set_tests_properties(unit_adding PROPERTIES LABELS unit TIMEOUT 60)
