#include "column_kernel.hpp"

#include "row_lanes.hpp"

namespace dinoxx::loss_kernel {
namespace {

/// Lanes [0, count) from element `index`, the others 0.
DINOXX_INLINE void load_part(Vec& v, const void* base, Storage type, int64_t index, int64_t count) {
  if (type == Storage::kFloat) {
    const float* p = static_cast<const float*>(base) + index;
    if (count == kLanes) return load(v, p);
    v = Vec{};
    std::memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  typedef uint16_t HalfVec __attribute__((vector_size(32)));
  HalfVec half{};
  const uint16_t* p = static_cast<const uint16_t*>(base) + index;
  std::memcpy(&half, p, static_cast<size_t>(count) * sizeof(uint16_t));
  const IntVec bits = __builtin_convertvector(half, IntVec) << 16;
  std::memcpy(&v, &bits, sizeof v);
}

DINOXX_INLINE void store_part(float* p, const Vec& v, int64_t count) {
  std::memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
}

// The running maximum needs one exponential an element: of the distance to it, whichever side the element lies.
DINOXX_INLINE void column_log_sum_exp_impl(const ColumnLogSumExp& c) {
  std::fill(c.max + c.begin, c.max + c.end, kNoRow);
  std::fill(c.sum + c.begin, c.sum + c.end, 0.0f);
  for (int64_t i = 0; i < c.rows; ++i) {
    for (int64_t j = c.begin; j < c.end; j += kLanes) {
      const int64_t count = std::min(kLanes, c.end - j);
      Vec x, max, sum;
      load_part(x, c.logits, c.type, i * c.dim + j, count);
      load_part(max, c.max, Storage::kFloat, j, count);
      load_part(sum, c.sum, Storage::kFloat, j, count);
      x *= c.inv_temp;
      const Vec distance = x - max;
      Vec e = distance > 0.0f ? -distance : distance;
      exp_lanes(e);
      sum = distance > 0.0f ? sum * e + 1.0f : sum + e;
      max = x > max ? x : max;
      store_part(c.max + j, max, count);
      store_part(c.sum + j, sum, count);
    }
  }
}

DINOXX_INLINE void softmax_column_sums_impl(const SoftmaxColumnSums& r) {
  const int64_t dim = r.dim, padded = padded_dim(dim);
  float* const t = r.scratch;
  for (int64_t row = r.begin; row < r.end; ++row) {
    Vec max = Vec{} - std::numeric_limits<float>::infinity();
    for (int64_t j = 0; j < padded; j += kLanes) {
      const int64_t count = std::min(kLanes, dim - j);
      Vec x, c;
      load_part(x, r.logits, r.type, row * dim + j, count);
      load_part(c, r.centre, Storage::kFloat, j, count);
      x = (x - c) * r.inv_temp;
      if (count < kLanes)
        for (int64_t lane = count; lane < kLanes; ++lane) x[lane] = kPadding;
      max = x > max ? x : max;
      store(t + j, x);
    }
    const float top = max_lanes(max);
    if (r.is_top) {
      const float* place = std::find(t, t + dim, top);
      if (place != t + dim) r.is_top[place - t] = 1;
    }
    Vec sum{};
    for (int64_t j = 0; j < padded; j += kLanes) {
      Vec e;
      load(e, t + j);
      e -= top;
      exp_lanes(e);
      sum += e;
      store(t + j, e);
    }
    const float scale = 1.0f / sum_lanes(sum);
    for (int64_t j = 0; j < padded; j += kLanes) {
      Vec e, s;
      load(e, t + j);
      load(s, r.sums + j);
      store(r.sums + j, s + e * scale);
    }
  }
}

}  // namespace

DINOXX_LOSS_LEVELS(column_log_sum_exp, ColumnLogSumExp)

int64_t softmax_columns_size(int64_t dim) {
  return padded_dim(dim);
}
DINOXX_LOSS_LEVELS(softmax_column_sums, SoftmaxColumnSums)

}  // namespace dinoxx::loss_kernel
