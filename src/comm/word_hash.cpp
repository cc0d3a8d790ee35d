#include "word_hash.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace dinoxx {

int64_t word_hash(const at::Tensor& flat) {
  constexpr int64_t kAtOnce = int64_t{1} << 24;  // words, which take eight times their bytes for a moment
  constexpr auto kMixing = static_cast<int64_t>(0x9E3779B97F4A7C15U);
  const at::Tensor words = flat.detach().view({-1}).view(at::kInt);
  at::Tensor sum = at::zeros({}, words.options().dtype(at::kLong));
  for (int64_t begin = 0; begin < words.numel(); begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, words.numel() - begin);
    at::Tensor weights = at::arange(begin + 1, begin + count + 1, sum.options()).mul_(kMixing);
    weights.bitwise_xor_(weights.bitwise_right_shift(31)).mul_(kMixing).bitwise_or_(1);
    sum.add_(weights.mul_(words.narrow(0, begin, count)).sum());
  }
  return sum.item<int64_t>();
}

}  // namespace dinoxx
