#pragma once
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace dinoxx {

/// Memory that is taken once and used again: ensure() grows and never shrinks, does not keep the contents, and aligns to a cache line,
/// which is also the widest vector. Bytes behind the requested ones, up to kSlack, may be read and written: kernels work in whole vectors.
template <typename T>
class ScratchBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kSlack = 256;  ///< bytes

  ScratchBuffer() = default;
  ScratchBuffer(ScratchBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  ScratchBuffer& operator=(ScratchBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~ScratchBuffer() { release(); }

  T* ensure(size_t count) {
    if (count > capacity_) {
      release();
      const size_t bytes = (count * sizeof(T) + kSlack + kAlignment - 1) / kAlignment * kAlignment;
      data_ = static_cast<T*>(::operator new (bytes, std::align_val_t{kAlignment}));
      // Padding takes part in whole-vector loads (with weight zero); defined contents keep results and memory checkers clean.
      std::memset(static_cast<void*>(data_), 0, bytes);
      capacity_ = count;
    }
    return data_;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t capacity() const { return capacity_; }

 private:
  void release() {
    if (data_ != nullptr) ::operator delete (static_cast<void*>(data_), std::align_val_t{kAlignment});
    data_ = nullptr;
    capacity_ = 0;
  }
  T* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace dinoxx
