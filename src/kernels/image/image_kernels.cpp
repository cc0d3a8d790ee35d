#include "image_kernels.hpp"

#include <atomic>
#include <string>

#include "dinoxx/base/error.hpp"

namespace dinoxx::kernels {
namespace {

Level detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")) {
    return Level::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return Level::kAvx2;
#endif
  return Level::kPortable;
}

const Table* table_of(Level level) {
#if defined(__x86_64__)
  if (level == Level::kAvx512) return &kAvx512Table;
  if (level == Level::kAvx2) return &kAvx2Table;
#endif
  return &kPortableTable;
}

struct Choice {
  std::atomic<Level> level;
  std::atomic<const Table*> table;
};
Choice& choice() {
  static Choice instance{{detect()}, {table_of(detect())}};
  return instance;
}

}  // namespace

const Table& table() {
  return *choice().table.load(std::memory_order_relaxed);
}
Level level() {
  return choice().level.load(std::memory_order_relaxed);
}
Level supported_level() {
  static const Level best = detect();
  return best;
}

void set_level(Level level) {
  if (level > supported_level()) {
    fail("instruction set level", "at most " + std::to_string(static_cast<int>(supported_level())) + " on this processor",
         std::to_string(static_cast<int>(level)), "Choose a lower level.");
  }
  choice().level = level;
  choice().table = table_of(level);
}

}  // namespace dinoxx::kernels
