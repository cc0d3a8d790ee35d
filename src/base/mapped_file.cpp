#include "mapped_file.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

MappedFile::MappedFile(const FileDescriptor& file, uint64_t count) {
  if (count > file.size())
    fail(file.path(), fmt::format("at least {} bytes", count), fmt::format("{}", file.size()), "Copy the file again");
  if (count == 0) return;  // mmap refuses an empty range
  void* map = ::mmap(nullptr, count, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (map == MAP_FAILED)
    fail(file.path(), fmt::format("to map {} bytes of the file into memory", count), std::strerror(errno),
         "Check the file system and the limit on address space (ulimit -v)");
  data_ = static_cast<const std::byte*>(map);
  size_ = count;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace dinoxx
