# cmake --install --component dev: what another project needs to link dinoxx, beside the program's folder or without it. No absolute path is in it.
#
#   include/dinoxx/        the public headers
#   lib/libdinoxx.a        all modules behind them in one archive: no order and no list of libraries to keep in step
#   lib/cmake/dinoxx/      find_package(dinoxx): dinoxxConfig.cmake, and how the project itself finds LibTorch and the rest
include(CMakePackageConfigHelpers)

# The modules that `target` links and itself, each once, with the object libraries that are part of them.
function(dinoxx_modules_of target found)
  set(all ${${found}})
  if(NOT target IN_LIST all)
    list(APPEND all ${target})
    get_target_property(sources ${target} SOURCES)
    string(REGEX MATCHALL "<TARGET_OBJECTS:[^>]+" parts "${sources}")
    list(TRANSFORM parts REPLACE "<TARGET_OBJECTS:" "")
    list(APPEND all ${parts})
    get_target_property(links ${target} LINK_LIBRARIES)
    foreach(link IN LISTS links)
      if(link MATCHES "^dinoxx_" AND TARGET ${link})
        get_target_property(type ${link} TYPE)
        if(type STREQUAL STATIC_LIBRARY)
          dinoxx_modules_of(${link} all)
        endif()
      endif()
    endforeach()
  endif()
  set(${found} ${all} PARENT_SCOPE)
endfunction()

set(archived)
dinoxx_modules_of(dinoxx_eval archived)  # the topmost module with a public header
list(TRANSFORM archived REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE archived_objects)
add_library(dinoxx_archive STATIC ${archived_objects})
set_target_properties(dinoxx_archive PROPERTIES OUTPUT_NAME dinoxx ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/dev LINKER_LANGUAGE CXX)

set(dinoxx_wheel_kind OFF)  # which kind of wheel LibTorchWheel.cmake looks for first
if(DINOXX_WITH_CUDA)
  set(dinoxx_wheel_kind ON)
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/dinoxxConfig.cmake.in ${CMAKE_BINARY_DIR}/dev/dinoxxConfig.cmake @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/dev/dinoxxConfigVersion.cmake COMPATIBILITY SameMinorVersion)

set(dev COMPONENT dev EXCLUDE_FROM_ALL)
install(TARGETS dinoxx_archive ARCHIVE DESTINATION lib ${dev})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dinoxx DESTINATION include ${dev} FILES_MATCHING PATTERN "*.hpp")
install(FILES ${CMAKE_BINARY_DIR}/dev/dinoxxConfig.cmake ${CMAKE_BINARY_DIR}/dev/dinoxxConfigVersion.cmake ${CMAKE_CURRENT_LIST_DIR}/LibTorchWheel.cmake
  ${CMAKE_CURRENT_LIST_DIR}/DinoxxLibraries.cmake DESTINATION lib/cmake/dinoxx ${dev})
