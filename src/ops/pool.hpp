#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>

/// Memory for the fused operations. Blocks are kept when a tensor dies and handed out again, because glibc returns large ones to the
/// kernel, and faulting the pages in again costs more than the arithmetic on them. Thread-safe. The pool holds the largest amount that was
/// in use at one time.
namespace dinoxx::ops {

/// A block of at least `bytes`, aligned to 64; give it back with pool_give.
void* pool_take(size_t bytes);
void pool_give(void* block);
/// Returns all unused blocks to the system.
void pool_release();
size_t pool_unused_bytes();

/// An uninitialised contiguous CPU tensor in pool memory.
at::Tensor pooled_empty(at::IntArrayRef sizes, at::ScalarType dtype);

/// Scratch floats for one scope.
class PooledFloats {
 public:
  explicit PooledFloats(int64_t count) : data_(static_cast<float*>(pool_take(count * sizeof(float)))) {}
  ~PooledFloats() { pool_give(data_); }
  PooledFloats(const PooledFloats&) = delete;
  PooledFloats& operator=(const PooledFloats&) = delete;
  float* get() const { return data_; }

 private:
  float* data_;
};

}  // namespace dinoxx::ops
