#include "keep_memory.hpp"

#include <malloc.h>
#include <limits>

namespace dinoxx {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMost = std::numeric_limits<int>::max();
  mallopt(M_MMAP_THRESHOLD, kMost / 2);  // blocks above come from the kernel and go back to it
  mallopt(M_TRIM_THRESHOLD, kMost);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace dinoxx
