#include "kernels/cpu_level.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <string>

// of this header the error classes alone, which need no library: the library of fail_usage() links this one
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr const char* kNames[] = {"generic", "avx2", "avx512", "avx512vnni", "avx512bf16"};
static_assert(std::size(kNames) == std::size(kCpuLevels));

std::string all_names() {
  std::string text;
  for (size_t i = 0; i < std::size(kNames); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : i + 1 < std::size(kNames) ? ", " : " or ", kNames[i]);
  return text;
}

std::atomic<CpuLevel>& level_in_use() {
  static std::atomic<CpuLevel> level{choose_level(best_cpu_level(), std::getenv("DINOXX_SIMD"))};
  return level;
}

}  // namespace

const char* level_name(CpuLevel level) {
  const auto index = static_cast<size_t>(level);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

CpuLevel best_cpu_level() {
#if defined(__x86_64__)
  static const CpuLevel best = [] {
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("sse4.2"))) return CpuLevel::kGeneric;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl")))
      return CpuLevel::kAvx2;
    if (!__builtin_cpu_supports("avx512vnni")) return CpuLevel::kAvx512;
    return __builtin_cpu_supports("avx512bf16") ? CpuLevel::kAvx512Bf16 : CpuLevel::kAvx512Vnni;
  }();
  return best;
#else
  return CpuLevel::kGeneric;
#endif
}

CpuLevel cpu_level() {
  return level_in_use().load(std::memory_order_relaxed);
}

CpuLevel choose_level(CpuLevel best, const char* wish) {
  if (wish == nullptr || *wish == '\0') return best;
  for (const CpuLevel level : kCpuLevels) {
    if (std::string(wish) != level_name(level)) continue;
    if (level <= best) return level;
    throw UsageError(fmt::format(
        "environment variable DINOXX_SIMD: expected at most {}, which is what this processor has, found {}. Ask for a level that all "
        "machines of the run have, or unset it.",
        level_name(best), wish));
  }
  throw UsageError(fmt::format("environment variable DINOXX_SIMD: expected {}, found \"{}\". Unset it to take what the processor has.",
                               all_names(), wish));
}

void set_cpu_level(CpuLevel level) {
  if (level > best_cpu_level())
    throw Error(fmt::format("instruction set level: expected at most {} on this processor, found {}. Choose a lower level.",
                            level_name(best_cpu_level()), level_name(level)));
  level_in_use() = level;
}

const char* cpu_features() {
  static const std::string features = [] {
    std::string text;
#if defined(__x86_64__)
    const auto add = [&](bool has, const char* name) {
      if (has) text += (text.empty() ? "" : " ") + std::string(name);
    };
    add(__builtin_cpu_supports("sse4.2"), "sse4.2");
    add(__builtin_cpu_supports("avx2"), "avx2");
    add(__builtin_cpu_supports("fma"), "fma");
    add(__builtin_cpu_supports("avx512f"), "avx512f");
    add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
    add(__builtin_cpu_supports("avx512bf16"), "avx512bf16");
#endif
    return text;
  }();
  return features.c_str();
}

}  // namespace dinoxx
