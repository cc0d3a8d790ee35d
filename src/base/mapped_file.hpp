#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "files.hpp"

namespace dinoxx {

/// The first bytes of a file, mapped read-only: nothing is read before somebody looks at it, and the page cache holds it once for all
/// processes. As with every mapping, a file that another program shortens meanwhile kills the reader (SIGBUS).
class MappedFile {
 public:
  MappedFile() = default;
  /// The whole file. Error when it cannot be opened or mapped; an empty file gives empty bytes().
  explicit MappedFile(const FileDescriptor& file) : MappedFile(file, file.size()) {}
  /// The first `count` bytes, which the file must have.
  MappedFile(const FileDescriptor& file, uint64_t count);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace dinoxx
