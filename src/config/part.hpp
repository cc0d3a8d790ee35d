#pragma once
#include <memory>

namespace dinoxx {

/// A value on the heap that is copied and compared as a value, so that a struct can be made of parts whose types its header does not know:
/// who reads `config.optim->lr` includes optim/optim_config.hpp, and a new key there compiles nobody else. Never empty, but after a move.
template <class T>
class Part {
 public:
  Part() : value_(std::make_unique<T>()) {}
  Part(const Part& other) : value_(std::make_unique<T>(*other.value_)) {}
  Part(Part&&) noexcept = default;
  Part& operator=(const Part& other) {
    value_ = std::make_unique<T>(*other.value_);
    return *this;
  }
  Part& operator=(Part&&) noexcept = default;
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return value_.get(); }
  const T* operator->() const { return value_.get(); }
  bool operator==(const Part& other) const { return *value_ == *other.value_; }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace dinoxx
