# Set-up, launchers and installation.
add_test(NAME integration_setup COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/setup_test.sh ${PROJECT_SOURCE_DIR})
add_test(NAME integration_launch COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/launch_test.sh ${PROJECT_SOURCE_DIR})
set_tests_properties(integration_setup integration_launch PROPERTIES LABELS integration TIMEOUT 180)
set_tests_properties(integration_launch PROPERTIES PROCESSORS 2)
if(TARGET dinoxx AND NOT DINOXX_SANITIZE)
  add_test(NAME integration_install COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/install_test.sh ${CMAKE_BINARY_DIR} ${CMAKE_COMMAND})
  set_tests_properties(integration_install PROPERTIES LABELS integration TIMEOUT 300)
endif()
