# The online half of the data module: augmentation, sampler, loader.
set(DATA_LOADER_SOURCES
  kernels.cpp kernels_portable.cpp kernels_avx2.cpp kernels_avx512.cpp
  resize.cpp color.cpp blur.cpp views.cpp view_profiles.cpp masks.cpp sampler.cpp loader.cpp loader_slab.cpp loader_source.cpp)

# Each kernel file is built for its instruction set and chosen at run time. No contraction: all sets must round alike.
set(_kernel_flags -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math)
set_source_files_properties(kernels_portable.cpp PROPERTIES COMPILE_OPTIONS "${_kernel_flags}")
# The weights of the resize filter are part of the bit-for-bit contract with Pillow.
set_source_files_properties(resize.cpp blur.cpp PROPERTIES COMPILE_OPTIONS "-ffp-contract=off")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(kernels_avx2.cpp PROPERTIES COMPILE_OPTIONS "${_kernel_flags};-mavx2")
  set_source_files_properties(kernels_avx512.cpp PROPERTIES COMPILE_OPTIONS
    # GCC 12 warns about its own intrinsics headers (gcc.gnu.org bug 105593)
    "${_kernel_flags};-Wno-uninitialized;-Wno-maybe-uninitialized;-mavx2;-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vnni;-mprefer-vector-width=512")
endif()
