// A step's figures of one rank as raw pointers, for the CPU and for the kernel.
#pragma once
#include <cstdint>

namespace dinoxx::step_detail {

constexpr int kMostElements = 64, kMostTerms = 16;

/// Where the figures lie in a float64 buffer: [flags of the ranks | loss | stop | rows of the two centres | metrics | values of the terms].
/// What the host knows is there already; the rest is filled in from where the losses have left it.
struct FigureTable {
  struct Element {
    const void* from = nullptr;     ///< one float32 or float64
    int32_t is_double = 0, to = 0;  ///< place in the buffer
  };
  Element element[kMostElements];
  double weight[kMostTerms];  ///< of the terms
  int32_t elements = 0, terms = 0;
  int32_t first_term = 0;      ///< place of the first term's value
  int32_t flag = 0, loss = 0;  ///< places: 1 where a term's value is no finite number, else 0; the weighted sum, 0 where the flag is 1
};

/// In host memory.
void fill_figures(const FigureTable& table, double* out);

}  // namespace dinoxx::step_detail
