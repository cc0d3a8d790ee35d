# Build options and the flags that every target shares.
option(DINOXX_TESTS "Build the tests" ON)
option(DINOXX_BENCH "Build the benchmarks" ON)
set(DINOXX_CUDA AUTO CACHE STRING "CUDA and NCCL: AUTO takes what is there, ON insists, OFF builds for the CPU")
set_property(CACHE DINOXX_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT DINOXX_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "DINOXX_CUDA: expected AUTO, ON or OFF, found '${DINOXX_CUDA}'.")
endif()
set(DINOXX_SANITIZE "" CACHE STRING "Sanitizers, for example address,undefined")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_COMPILE_OPTIONS_PIE -fPIC)  # programs compile as libraries do: with -fPIE the precompiled header would not fit them, and each file would take 10 s more
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:--param=ggc-min-heapsize=1048576>)  # the compiler's own garbage collection, a tenth of its time with the precompiled header: not below 1 GiB
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")  # portable x86-64: kernels choose wider instructions at run time, file by file

find_program(DINOXX_CCACHE ccache)
if(DINOXX_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # pch_defines and time_macros let ccache serve translation units that use a precompiled header. Not include_file_mtime: it would store the object of a
  # header that was edited while the compiler ran under the name of the edited one. base_dir writes paths below the checkout relative to the build folder, so that a
  # second checkout finds what the first has compiled. The precompiled header counts by the checksum that pch_sum.sh puts beside it.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_PCH_EXTSUM=true
    ${DINOXX_CCACHE})
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

# libtorch_cpu.so has 430 MB: mold links a test program in well under a second, GNU ld takes several. Not lld: version 14 can put the start of the
# read-only-after-relocation range into an unmapped page behind a small .tbss, and the program then does not start.
find_program(DINOXX_MOLD mold)
if(DINOXX_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
# DT_RPATH, not DT_RUNPATH: it comes before LD_LIBRARY_PATH and holds for libraries of libraries, so that a cluster's module cannot put another NCCL,
# cuDNN or libgomp under the wheel, and an installed folder finds its own libraries.
add_link_options(-Wl,--disable-new-dtags)

add_library(dinoxx_flags INTERFACE)
target_compile_options(dinoxx_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers>)
# "dinoxx/loss/koleo.hpp" is public, "model/backbones/vit.hpp" and "data_pipeline/augment/views.hpp" stand beside their sources
target_include_directories(dinoxx_flags INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})

# mpirun hands a pseudo-terminal to the ranks, so that GoogleTest would colour a log file
set(DINOXX_TEST_ENVIRONMENT OMP_NUM_THREADS=1 GTEST_COLOR=no)
if(DINOXX_SANITIZE)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${DINOXX_SANITIZE}> $<$<COMPILE_LANGUAGE:C,CXX>:-fno-omit-frame-pointer>
                      $<$<COMPILE_LANGUAGE:C,CXX>:-fno-sanitize-recover=undefined>)
  add_link_options(-fsanitize=${DINOXX_SANITIZE})
  # LibTorch and Open MPI keep memory until the process ends
  list(APPEND DINOXX_TEST_ENVIRONMENT ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1)
endif()
