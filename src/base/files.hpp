#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace dinoxx {

/// What to do about an error (errno) of opening or reading a file or folder.
std::string reading_advice(int error);

/// Whole file as text. Error names the path and the system's reason.
std::string read_text(const std::filesystem::path& path);

/// Writes aside (`<path>.tmp.<pid>`), fsyncs, renames over `path`, fsyncs the folder: readers see the old or the new file, never a part.
/// On failure (full disk, no permission) the temporary file is removed and Error thrown.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// The same for content that comes in pieces. Destroyed without commit(), it leaves nothing behind.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(std::string_view content);
  void commit();

 private:
  void discard();
  [[noreturn]] void report(int error);
  std::string path_, temporary_;
  int fd_;
};

/// fsync of a file or folder; Error on failure.
void sync_path(const std::filesystem::path& path);

/// Makes the folder (and parents) and proves that it can be written to; Error says why not.
void make_writable_directory(const std::filesystem::path& path);

/// An open file descriptor that closes itself; pread with retry on EINTR and short reads.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  /// Opens for reading. Error when it cannot.
  explicit FileDescriptor(const std::filesystem::path& path);
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  /// Reads exactly out.size() bytes at `offset`. Error when the file ends before, or on an I/O error. Thread-safe.
  void read_at(std::span<std::byte> out, uint64_t offset) const;
  uint64_t size() const;
  int get() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  int fd_ = -1;
  std::string path_;
};

}  // namespace dinoxx
