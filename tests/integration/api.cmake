# Another project: headers, library and find_package(dinoxx).
if(NOT DINOXX_SANITIZE)
  add_test(NAME integration_api COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/api/api_test.sh ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_COMMAND}
    $<TARGET_FILE:dinoxx> ${TORCH_ROOT} ${CMAKE_CXX_COMPILER})
  set_tests_properties(integration_api PROPERTIES LABELS integration TIMEOUT 600 PROCESSORS 2)
endif()
