# The libraries beside LibTorch that programs with dinoxx link. Installed: dinoxxConfig.cmake finds the same.
find_package(MPI REQUIRED COMPONENTS C)
find_package(PkgConfig REQUIRED)
# Debian installs serial HDF5 (thread-safe) and Open MPI HDF5 (not thread-safe) side by side: name the serial one.
pkg_check_modules(HDF5 IMPORTED_TARGET hdf5-serial)
if(NOT HDF5_FOUND)
  pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5)
endif()
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)
find_package(fmt REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(Threads REQUIRED)
set(DINOXX_LIBRARIES MPI::MPI_C PkgConfig::HDF5 Boost::program_options fmt::fmt JPEG::JPEG PNG::PNG Threads::Threads)
