# CUDA and NCCL, when they are there. What a module may rely on after this file:
#
#   DINOXX_WITH_CUDA    TRUE: toolkit and full wheel set; CUDA code belongs to the program `dinoxx`.
#   DINOXX_CUDA_CHECK   TRUE: toolkit (with nccl.h) but only the CPU wheels; CUDA code is compiled and linked into `dinoxx_cuda_check` alone, which is
#                       part of `all`, so that it cannot rot on machines without the full set.
#   DINOXX_HAVE_NVCC    either of them: the CUDA language is enabled.
#   dinoxx_torch_cuda   dinoxx_torch plus libtorch_cuda and libc10_cuda and the CUDA runtime
#   dinoxx_nccl         nccl.h and the NCCL that the wheel itself links (in check mode: the toolkit's)
#
# A module with CUDA code says (dinoxx_cuda_sources stands below and does nothing without nvcc):
#
#   dinoxx_module(comm TORCH SOURCES ... DEPS ...)
#   dinoxx_cuda_sources(comm ABSENT nccl_absent.cpp SOURCES nccl_communicator.cpp kernels.cu)
#
# With DINOXX_WITH_CUDA the SOURCES become part of dinoxx_comm. Otherwise ABSENT does (the same functions, which fail with what to install), and in check
# mode SOURCES are compiled into dinoxx_cuda_check. No #ifdef in a public header: the optional dependency is an alternative source file.
# Rules for the CUDA code: .cu files take raw pointers and cudaStream_t and include no torch header (49 s a file); .cpp files may use c10/cuda/*
# (streams, guards, caching allocator), whose library every wheel set holds, but not at::cuda functions that live in libtorch_cuda.so alone.
set(DINOXX_WITH_CUDA FALSE)
set(DINOXX_CUDA_CHECK FALSE)
set(DINOXX_HAVE_NVCC FALSE)

if(NOT DINOXX_CUDA STREQUAL OFF)
  if(CMAKE_CUDA_COMPILER)
    set(DINOXX_NVCC ${CMAKE_CUDA_COMPILER} CACHE FILEPATH "CUDA compiler")
  endif()
  find_program(DINOXX_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
  set(wheel_cuda FALSE)
  if(EXISTS ${DINOXX_TORCH_LIB}/libtorch_cuda.so AND EXISTS ${TORCH_ROOT}/nvidia/nccl/lib/libnccl.so.2 AND EXISTS ${TORCH_ROOT}/nvidia/cudnn/lib)
    set(wheel_cuda TRUE)
  endif()
  set(why "")
  if(NOT DINOXX_NVCC)
    set(why "no CUDA toolkit: expected nvcc on the PATH or under CUDA_HOME")
  else()
    get_filename_component(cuda_home ${DINOXX_NVCC} DIRECTORY)
    get_filename_component(cuda_home ${cuda_home} DIRECTORY)
    if(wheel_cuda)  # exactly one NCCL in the process: the one that libtorch_cuda links
      set(DINOXX_NCCL_INCLUDE ${TORCH_ROOT}/nvidia/nccl/include)
      set(DINOXX_NCCL_LIBRARY ${TORCH_ROOT}/nvidia/nccl/lib/libnccl.so.2)
    else()
      find_path(DINOXX_NCCL_INCLUDE nccl.h HINTS ${cuda_home}/include)
      find_library(DINOXX_NCCL_LIBRARY nccl HINTS ${cuda_home}/lib64 ${cuda_home}/lib)
    endif()
    if(NOT DINOXX_NCCL_INCLUDE OR NOT DINOXX_NCCL_LIBRARY)
      set(why "no NCCL: expected nccl.h and libnccl in the wheel set (launch/setup.sh --cuda) or in the toolkit ${cuda_home}")
    endif()
  endif()

  if(why STREQUAL "")
    set(CMAKE_CUDA_COMPILER ${DINOXX_NVCC})
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      # Turing to Blackwell, as the wheels; for what comes later the code of the last in a form that its driver compiles
      set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 100-real 120 CACHE STRING "CUDA architectures")
    endif()
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # one libcudart in the process, the one that LibTorch links
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)  # the newest that CMake 3.25 knows a flag of nvcc for; .cu files share plain structs alone with the rest
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13 OR NOT CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 14)
      set(why "CUDA toolkit ${CMAKE_CUDA_COMPILER_VERSION}: the wheel torch ${DINOXX_TORCH_VERSION} is built for CUDA 13")
    endif()
  endif()

  if(NOT why STREQUAL "")
    if(DINOXX_CUDA STREQUAL ON)
      message(FATAL_ERROR "DINOXX_CUDA=ON, but ${why}. Install it, or configure with -DDINOXX_CUDA=OFF.")
    endif()
    message(STATUS "CUDA: off (${why})")
  elseif(wheel_cuda)
    set(DINOXX_WITH_CUDA TRUE)
  elseif(DINOXX_CUDA STREQUAL ON)
    message(FATAL_ERROR "DINOXX_CUDA=ON needs the full set of wheels, found only the CPU part under TORCH_ROOT='${TORCH_ROOT}'. "
                        "Run launch/setup.sh --cuda and configure again without -DTORCH_ROOT.")
  else()
    set(DINOXX_CUDA_CHECK TRUE)
  endif()
endif()

if(DINOXX_WITH_CUDA OR DINOXX_CUDA_CHECK)
  set(DINOXX_HAVE_NVCC TRUE)
  find_package(CUDAToolkit REQUIRED)
  add_library(dinoxx_torch_cuda INTERFACE)
  target_include_directories(dinoxx_torch_cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
  add_library(wheel_c10_cuda SHARED IMPORTED)
  set_target_properties(wheel_c10_cuda PROPERTIES IMPORTED_LOCATION ${DINOXX_TORCH_LIB}/libc10_cuda.so)
  target_link_libraries(dinoxx_torch_cuda INTERFACE dinoxx_torch wheel_c10_cuda CUDA::cudart)
  target_link_options(dinoxx_torch_cuda INTERFACE -Wl,--allow-shlib-undefined)
  if(DINOXX_WITH_CUDA)
    # libtorch_cuda registers its kernels by static initialisers: a linker that drops it as unneeded makes "CUDA not available".
    target_link_libraries(dinoxx_torch_cuda INTERFACE -Wl,--push-state,--no-as-needed,${DINOXX_TORCH_LIB}/libtorch_cuda.so,--pop-state)
    message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}, NCCL ${DINOXX_NCCL_LIBRARY}")
  else()
    message(STATUS "CUDA: compile and link check only (CPU wheels; launch/setup.sh --cuda fetches the full set)")
  endif()
  add_library(wheel_nccl SHARED IMPORTED)
  set_target_properties(wheel_nccl PROPERTIES IMPORTED_LOCATION ${DINOXX_NCCL_LIBRARY})
  add_library(dinoxx_nccl INTERFACE)
  target_include_directories(dinoxx_nccl SYSTEM INTERFACE ${DINOXX_NCCL_INCLUDE})
  target_link_libraries(dinoxx_nccl INTERFACE wheel_nccl dinoxx_torch_cuda)
endif()

if(DINOXX_CUDA_CHECK)
  add_executable(dinoxx_cuda_check ${CMAKE_CURRENT_LIST_DIR}/cuda_check_main.cpp)
  target_link_libraries(dinoxx_cuda_check PRIVATE dinoxx_flags dinoxx_nccl)
endif()

# dinoxx_cuda_sources(MODULE [ABSENT file.cpp ...] SOURCES file.cpp file.cu ... [DEPS ...]), see above.
function(dinoxx_cuda_sources module)
  cmake_parse_arguments(C "" "" "ABSENT;SOURCES;DEPS" ${ARGN})
  if(DINOXX_WITH_CUDA)
    target_sources(dinoxx_${module} PRIVATE ${C_SOURCES})
    target_link_libraries(dinoxx_${module} PUBLIC dinoxx_nccl ${C_DEPS})
    return()
  endif()
  if(C_ABSENT)
    target_sources(dinoxx_${module} PRIVATE ${C_ABSENT})
  endif()
  if(DINOXX_CUDA_CHECK)
    # objects, so that every one is linked; they define what ABSENT defines, and the linker then leaves ABSENT in its archive
    add_library(dinoxx_${module}_cuda_check OBJECT ${C_SOURCES})
    target_link_libraries(dinoxx_${module}_cuda_check PUBLIC dinoxx_${module} dinoxx_nccl ${C_DEPS})
    target_link_libraries(dinoxx_cuda_check PRIVATE dinoxx_${module}_cuda_check)
  endif()
endfunction()
