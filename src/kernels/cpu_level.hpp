#pragma once

/// The one place that asks the processor which instructions it has, and the level that all kernels go by. Declarations alone, without a
/// header of the standard library: files that are compiled for one instruction set include this.
namespace dinoxx {

/// Instruction sets in order; each level has all of those before it. A family of kernels takes the highest of its own that is not above
/// cpu_level().
enum class CpuLevel : int {
  kGeneric,     ///< what the compiler assumes anyway
  kAvx2,        ///< AVX2, FMA and SSE4.2
  kAvx512,      ///< AVX-512 F, BW, DQ and VL
  kAvx512Vnni,  ///< and 8- and 16-bit dot products
  kAvx512Bf16,  ///< and bfloat16 dot products
};
constexpr CpuLevel kCpuLevels[] = {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Vnni, CpuLevel::kAvx512Bf16};

/// "generic", "avx2", "avx512", "avx512vnni", "avx512bf16": the words of the environment variable DINOXX_SIMD.
const char* level_name(CpuLevel level);

/// The highest that this processor has.
CpuLevel best_cpu_level();

/// The level in use: the processor's, or what DINOXX_SIMD asks for. The environment is read at the first call. UsageError as of
/// choose_level(); programs call this once before they begin, so that the user hears of it there.
CpuLevel cpu_level();

/// The level for a processor that has `best` and a DINOXX_SIMD of `wish` (null or empty: not set). UsageError for an unknown word, and for
/// a level above `best`: whoever asks for one on several machines wants the same on all, and a lower one in silence would not be that.
CpuLevel choose_level(CpuLevel best, const char* wish);

/// For tests and measurements: all kernels go by `level` from now on. Error above best_cpu_level(). Not while kernels run.
void set_cpu_level(CpuLevel level);

/// The instruction sets of interest that this processor has, with spaces between; for people to read.
const char* cpu_features();

}  // namespace dinoxx
