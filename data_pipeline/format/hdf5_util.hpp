#pragma once
#include <hdf5.h>

#include <mutex>
#include <string>
#include <utility>

namespace dinoxx::detail {

/// Held around every use of the HDF5 library: one thread at a time, with the library's own printing of errors switched off.
/// The first one sets HDF5_USE_FILE_LOCKING=FALSE unless the user has set it (locks hang or fail on Lustre, NFS and GPFS, and shards are written once),
/// and refuses a library that is not thread-safe.
class Hdf5Session {
 public:
  Hdf5Session();

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

/// An HDF5 identifier that closes itself.
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  /// Closes now; negative when HDF5 could not.
  herr_t reset() {
    const hid_t id = std::exchange(id_, -1);
    return id >= 0 && close_ != nullptr ? close_(id) : 0;
  }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// The innermost message of HDF5's error stack of this thread.
std::string hdf5_error_text();

/// Error "<path>: expected <expected>, found <HDF5's own words>. <advice>".
[[noreturn]] void hdf5_fail(const std::string& path, const std::string& expected, const std::string& advice);

/// "1.10.8"
std::string hdf5_version();

}  // namespace dinoxx::detail
