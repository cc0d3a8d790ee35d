# The list of edits that tests/mutation.py plants, by hand, to see whether the tests notice: every one still applies and its tests are there.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME unit_mutation_list COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/mutation.py --check --build ${CMAKE_BINARY_DIR})
  set_tests_properties(unit_mutation_list PROPERTIES LABELS unit TIMEOUT 60)
endif()
