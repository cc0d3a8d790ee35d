# The precompiled header of all tensor code, compiled once and reused.
add_library(dinoxx_torch_pch STATIC ${CMAKE_CURRENT_LIST_DIR}/torch_pch.cpp)
target_link_libraries(dinoxx_torch_pch PUBLIC dinoxx_flags dinoxx_torch fmt::fmt)
target_precompile_headers(dinoxx_torch_pch PRIVATE ${CMAKE_CURRENT_LIST_DIR}/torch_pch.hpp)
if(DINOXX_CCACHE)
  set_target_properties(dinoxx_torch_pch PROPERTIES CXX_COMPILER_LAUNCHER "${CMAKE_CURRENT_LIST_DIR}/pch_sum.sh;${CMAKE_CXX_COMPILER_LAUNCHER}")
endif()

# dinoxx_module(NAME [TORCH] [SOURCES ...] [DEPS ...]): static library dinoxx_NAME; without sources an interface library.
# TORCH modules share one precompiled header.
function(dinoxx_module name)
  cmake_parse_arguments(M "TORCH" "" "SOURCES;DEPS" ${ARGN})
  if(M_SOURCES)
    add_library(dinoxx_${name} STATIC ${M_SOURCES})
    set(scope PUBLIC)
    if(M_TORCH)
      target_precompile_headers(dinoxx_${name} REUSE_FROM dinoxx_torch_pch)
      target_compile_options(dinoxx_${name} PRIVATE -Winvalid-pch)
    endif()
  else()
    add_library(dinoxx_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(dinoxx_${name} ${scope} dinoxx_flags ${M_DEPS})
  if(M_TORCH)
    target_link_libraries(dinoxx_${name} ${scope} dinoxx_torch)
  endif()
endfunction()

# Names of tests, of ctest and of the programs behind them: <label>_<subject>, and the test carries that one label. unit_train is labelled unit, its
# sources are in tests/unit; mpi_step is a program, mpi_step_np2 it over two ranks. So `ctest -R ^unit_` and `ctest -L unit` are the same tests, and
# the name of a failure says where to look. Nothing ends in _test: all of them are. The functions below refuse another name, and
# dinoxx_check_test_names(), with which each folder of tests begins, refuses it of add_test().
set(DINOXX_TEST_LABELS unit mpi golden integration fault cluster gpu fakegpu)

function(dinoxx_check_test_name name labels)
  if(NOT labels IN_LIST DINOXX_TEST_LABELS OR NOT name MATCHES "^${labels}_[a-z0-9_]+$" OR name MATCHES "_test(_np[0-9]+)?$")
    list(JOIN DINOXX_TEST_LABELS ", " known)
    message(FATAL_ERROR "test name: expected <label>_<subject> and LABELS <label>, with a label of ${known} and no _test at the end, found '${name}' with "
                        "LABELS '${labels}'. Rename the test or its label (cmake/DinoxxModule.cmake says why).")
  endif()
endfunction()

# At the end of the calling folder: all its tests, those of add_test() too.
macro(dinoxx_check_test_names)
  cmake_language(DEFER CALL dinoxx_check_tests_of_folder)
endmacro()
function(dinoxx_check_tests_of_folder)
  get_property(tests DIRECTORY PROPERTY TESTS)
  foreach(test IN LISTS tests)
    get_property(labels TEST ${test} PROPERTY LABELS)
    dinoxx_check_test_name(${test} "${labels}")
  endforeach()
endfunction()

# dinoxx_test(NAME [TORCH] SOURCES ... DEPS ... LABELS label): one GoogleTest program per file group, run by ctest as one test per program.
function(dinoxx_test name)
  cmake_parse_arguments(T "TORCH" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  dinoxx_check_test_name(${name} "${T_LABELS}")
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE dinoxx_flags ${T_DEPS} dinoxx_test_source_dir GTest::gtest GTest::gmock)
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)  # what runs long is in the libraries, and those are built with -O2
  if(T_TORCH)
    target_precompile_headers(${name} REUSE_FROM dinoxx_torch_pch)
  endif()
  if(NOT T_LABELS MATCHES mpi)
    target_link_libraries(${name} PRIVATE GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${T_LABELS}" TIMEOUT 120 ENVIRONMENT "${DINOXX_TEST_ENVIRONMENT}")
    if(T_TIMEOUT)
      set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT})
    endif()
  endif()
endfunction()

# add_mpi_test(mpi_NAME SOURCES ... DEPS ... NP 1 2 3 4): one program (its main is tests/support/mpi_main.cpp), one ctest test per number of ranks.
function(add_mpi_test name)
  cmake_parse_arguments(T "TORCH" "TIMEOUT" "SOURCES;DEPS;NP" ${ARGN})
  set(torch)
  if(T_TORCH)
    set(torch TORCH)
  endif()
  dinoxx_test(${name} ${torch} SOURCES ${T_SOURCES} ${PROJECT_SOURCE_DIR}/tests/support/mpi_main.cpp DEPS ${T_DEPS} dinoxx_comm LABELS mpi)
  foreach(np IN LISTS T_NP)
    add_test(NAME ${name}_np${np} COMMAND ${CMAKE_COMMAND} -E env ${DINOXX_TEST_ENVIRONMENT} DINOXX_TEST_RANKS=${np}
      ${MPIEXEC_EXECUTABLE} ${DINOXX_MPIEXEC_TEST_FLAGS} -n ${np} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}_np${np} PROPERTIES LABELS mpi TIMEOUT 120 PROCESSORS 2)
    if(T_TIMEOUT)
      set_tests_properties(${name}_np${np} PROPERTIES TIMEOUT ${T_TIMEOUT})
    endif()
  endforeach()
endfunction()
