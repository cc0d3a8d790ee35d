# Set-up, launchers and installation.
add_test(NAME setup_test COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/setup_test.sh ${PROJECT_SOURCE_DIR})
add_test(NAME launch_test COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/launch_test.sh ${PROJECT_SOURCE_DIR})
set_tests_properties(setup_test launch_test PROPERTIES LABELS integration TIMEOUT 180)
set_tests_properties(launch_test PROPERTIES PROCESSORS 2)
if(TARGET dinoxx AND NOT DINOXX_SANITIZE)
  add_test(NAME install_test COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/install_test.sh ${CMAKE_BINARY_DIR} ${CMAKE_COMMAND})
  set_tests_properties(install_test PROPERTIES LABELS integration TIMEOUT 300)
endif()
