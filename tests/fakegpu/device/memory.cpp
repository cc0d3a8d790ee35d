#include "memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "counters.hpp"
#include "settings.hpp"

namespace fakegpu {
namespace {

constexpr size_t kPage = size_t{2} << 20;

struct Block {
  size_t bytes;
  char* behind;  // the same memory, readable
  char* area;    // what was reserved: `bytes` and one page, so that the address can be a multiple of a page
  int device;
};

struct Memory {
  std::mutex mutex;
  std::map<const char*, Block> blocks;  // by device address
  std::vector<size_t> used = std::vector<size_t>(64, 0);
  size_t peak = 0;
};

Memory& memory() {
  static Memory* m = new Memory;
  return *m;
}

// The block that holds the address, or the end. Under the lock.
std::map<const char*, Block>::iterator find(Memory& m, const void* address) {
  const char* a = static_cast<const char*>(address);
  auto it = m.blocks.upper_bound(a);
  if (it == m.blocks.begin()) return m.blocks.end();
  --it;
  return a < it->first + it->second.bytes ? it : m.blocks.end();
}

}  // namespace

bool allocate(int device, size_t bytes, void** address) {
  const size_t rounded = std::max<size_t>((bytes + kPage - 1) / kPage, 1) * kPage;
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  if (m.used[device] + rounded > settings().memory) {
    write_log("{\"out_of_memory\": " + std::to_string(rounded) + ", \"used\": " + std::to_string(m.used[device]) + "}");
    return false;
  }
  // pages that nobody writes cost nothing: a 7B model's memory is address space
  void* behind = mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (behind == MAP_FAILED) return false;
  void* area = mmap(nullptr, rounded + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) {
    munmap(behind, rounded);
    return false;
  }
  char* const first = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(area) + kPage - 1) / kPage * kPage);
  m.blocks[first] = {rounded, static_cast<char*>(behind), static_cast<char*>(area), device};
  m.used[device] += rounded;
  m.peak = std::max(m.peak, m.used[device]);
  *address = first;
  return true;
}

bool release(void* address) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto it = m.blocks.find(static_cast<const char*>(address));
  if (it == m.blocks.end()) return false;
  const Block block = it->second;
  m.used[block.device] -= block.bytes;
  m.blocks.erase(it);
  munmap(block.behind, block.bytes);
  munmap(block.area, block.bytes + kPage);
  return true;
}

int device_of(const void* address) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto it = find(m, address);
  return it == m.blocks.end() ? -1 : it->second.device;
}

void* host_address(const void* address) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto it = find(m, address);
  if (it == m.blocks.end()) return const_cast<void*>(address);
  return it->second.behind + (static_cast<const char*>(address) - it->first);
}

size_t free_bytes(int device) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  return settings().memory - m.used[device];
}

DeviceUse device_use() {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  return {*std::max_element(m.used.begin(), m.used.end()), m.peak};
}

}  // namespace fakegpu
