#include "pool.hpp"

#include <ATen/ATen.h>

#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "base/failure.hpp"

namespace dinoxx::ops {
namespace {

constexpr size_t kHeader = 64;  // holds the block's size, keeps the alignment

struct Pool {
  std::mutex mutex;
  std::unordered_map<size_t, std::vector<void*>> unused;
  size_t unused_bytes = 0;
};
/// Never destroyed: tensors in static storage may die after it.
Pool& pool() {
  static Pool* p = new Pool;
  return *p;
}

/// Eight sizes per power of two, so that nearly equal requests share blocks.
size_t size_class(size_t bytes) {
  if (bytes <= 1024) return 1024;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

}  // namespace

void* pool_take(size_t bytes) {
  const size_t size = size_class(bytes);
  {
    std::lock_guard lock(pool().mutex);
    auto& list = pool().unused[size];
    if (!list.empty()) {
      void* block = list.back();
      list.pop_back();
      pool().unused_bytes -= size;
      return block;
    }
  }
  char* base = static_cast<char*>(std::aligned_alloc(64, (size + kHeader + 63) / 64 * 64));
  if (!base) {
    note_failed_allocation(size);
    throw std::bad_alloc();
  }
  *reinterpret_cast<size_t*>(base) = size;
  return base + kHeader;
}

void pool_give(void* block) {
  if (!block) return;
  const size_t size = *reinterpret_cast<size_t*>(static_cast<char*>(block) - kHeader);
  std::lock_guard lock(pool().mutex);
  pool().unused[size].push_back(block);
  pool().unused_bytes += size;
}

void pool_release() {
  std::lock_guard lock(pool().mutex);
  for (auto& [size, list] : pool().unused)
    for (void* block : list) std::free(static_cast<char*>(block) - kHeader);
  pool().unused.clear();
  pool().unused_bytes = 0;
}

size_t pool_unused_bytes() {
  std::lock_guard lock(pool().mutex);
  return pool().unused_bytes;
}

at::Tensor pooled_empty(at::IntArrayRef sizes, at::ScalarType dtype) {
  size_t count = 1;
  for (const int64_t s : sizes) count *= s;
  return at::from_blob(pool_take(count * c10::elementSize(dtype)), sizes, pool_give, at::TensorOptions(dtype));
}

}  // namespace dinoxx::ops
