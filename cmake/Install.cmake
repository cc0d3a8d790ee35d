# cmake --install: one folder that runs wherever it is copied, on nodes with the same or a newer glibc and an MPI of the same kind.
#
#   bin/dinoxx
#   lib/torch/lib, lib/nvidia/*/lib   LibTorch, laid out as in the wheels, whose libraries find each other by $ORIGIN/../../nvidia/...
#   lib/                              HDF5, Boost, image libraries and what they need (not MPI, not the C and C++ run-time libraries)
#   share/dinoxx/{configs,launch}
if(NOT TARGET dinoxx)
  return()
endif()

set_target_properties(dinoxx PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin
  INSTALL_RPATH "$ORIGIN/../lib/torch/lib;$ORIGIN/../lib/nvidia/cu13/lib;$ORIGIN/../lib/nvidia/nccl/lib;$ORIGIN/../lib")
install(TARGETS dinoxx RUNTIME_DEPENDENCY_SET dinoxx_libraries RUNTIME DESTINATION bin)

# MPI stays the system's: it has to fit the network and the batch system of the cluster.
install(RUNTIME_DEPENDENCY_SET dinoxx_libraries
  PRE_EXCLUDE_REGEXES "^libtorch" "^libc10" "^libgomp" "^libcu(da|pti|blas|dnn|fft|file|rand|sol|sparse)" "^libnccl" "^libnv" "^libmpi" "^libopen-" "^ld-linux" "^libc\\.so" "^libm\\.so"
    "^libpthread" "^libdl" "^librt" "^libresolv" "^libutil" "^libstdc\\+\\+" "^libgcc_s"
  POST_EXCLUDE_REGEXES "/nvidia/" "/torch/lib/"
  LIBRARY DESTINATION lib)

set(torch_libraries libtorch_cpu.so libc10.so libgomp.so.1)
set(nvidia_folders)
if(DINOXX_WITH_CUDA)
  list(APPEND torch_libraries libtorch_cuda.so libtorch_cuda_linalg.so libc10_cuda.so libcaffe2_nvrtc.so libtorch_nvshmem.so)
  file(GLOB nvidia_folders RELATIVE ${TORCH_ROOT}/nvidia ${TORCH_ROOT}/nvidia/*/lib)
  foreach(folder IN LISTS nvidia_folders)
    install(DIRECTORY ${TORCH_ROOT}/nvidia/${folder}/ DESTINATION lib/nvidia/${folder} FILES_MATCHING PATTERN "*.so*")
  endforeach()
else()
  foreach(library libcupti.so.13 libcudart.so.13)
    if(EXISTS ${TORCH_ROOT}/nvidia/cu13/lib/${library})
      install(PROGRAMS ${TORCH_ROOT}/nvidia/cu13/lib/${library} DESTINATION lib/nvidia/cu13/lib)
    endif()
  endforeach()
endif()
foreach(library IN LISTS torch_libraries)
  if(EXISTS ${DINOXX_TORCH_LIB}/${library})
    install(PROGRAMS ${DINOXX_TORCH_LIB}/${library} DESTINATION lib/torch/lib)
  endif()
endforeach()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs DESTINATION share/dinoxx OPTIONAL)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/launch DESTINATION share/dinoxx USE_SOURCE_PERMISSIONS PATTERN "__pycache__" EXCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md DESTINATION share/dinoxx OPTIONAL)
