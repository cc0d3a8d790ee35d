#include "dinoxx/core/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dinoxx/core/error.hpp"

namespace dinoxx {
namespace {

std::string reason(int error) { return std::strerror(error); }

std::string advice_for(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "Free space on that file system, or choose another folder";
    case EACCES:
    case EPERM:
    case EROFS:
      return "Choose a folder that you may write to, or change its permissions";
    case ENOENT:
      return "Check the path";
    default:
      return "Check the path and the file system";
  }
}

// Removes a file unless told that it is finished.
struct TemporaryFile {
  std::string path;
  bool keep = false;
  ~TemporaryFile() {
    if (!keep) ::unlink(path.c_str());
  }
};

// A descriptor opened for writing. close() reports errors that the file system held back (NFS, quota).
class Output {
 public:
  explicit Output(const std::string& path) : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (fd_ < 0) report(errno);
  }
  ~Output() {
    if (fd_ >= 0) ::close(fd_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  void write(std::string_view content) {
    while (!content.empty()) {
      const ssize_t n = ::write(fd_, content.data(), content.size());
      if (n < 0) {
        if (errno == EINTR) continue;
        report(errno);
      }
      content.remove_prefix(static_cast<size_t>(n));
    }
  }
  void sync_and_close() {
    if (::fsync(fd_) != 0 && errno != EINVAL) report(errno);
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) report(errno);
  }

 private:
  [[noreturn]] void report(int error) const { fail(path_, "to write the file", reason(error), advice_for(error)); }
  std::string path_;
  int fd_;
};

}  // namespace

std::string read_text(const std::filesystem::path& path) {
  const FileDescriptor file(path);
  std::string text;
  std::string chunk(size_t{1} << 16, '\0');
  for (;;) {  // to the end, whatever stat says: /proc files and pipes have size 0
    const ssize_t n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      fail(path.string(), "a readable file", reason(error), advice_for(error));
    }
    if (n == 0) return text;
    text.append(chunk.data(), static_cast<size_t>(n));
  }
}

void sync_path(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    fail(path.string(), "to open it for fsync", reason(error), advice_for(error));
  }
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  // some file systems do not know fsync on a folder; their renames are ordered by other means
  if (result != 0 && error != EINVAL && error != EROFS) fail(path.string(), "fsync to succeed", reason(error), advice_for(error));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  TemporaryFile temporary{path.string() + ".tmp." + std::to_string(::getpid())};
  Output output(temporary.path);
  output.write(content);
  output.sync_and_close();
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) {
    const int error = errno;
    fail(path.string(), "to rename the finished file into place", reason(error), advice_for(error));
  }
  temporary.keep = true;
  sync_path(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
}

void make_writable_directory(const std::filesystem::path& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) fail(path.string(), "to make the folder", code.message(), advice_for(code.value()));
  if (!std::filesystem::is_directory(path, code)) fail(path.string(), "a folder", "a file of that name", "Choose another path");
  // permission bits do not tell everything (read-only mounts, quotas, root squash): write something
  TemporaryFile probe{(path / (".probe." + std::to_string(::getpid()))).string()};
  Output output(probe.path);
  output.write("dinoxx");
  output.sync_and_close();
}

FileDescriptor::FileDescriptor(const std::filesystem::path& path) : path_(path.string()) {
  do {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) {
    const int error = errno;
    fail(path_, "a readable file", reason(error), advice_for(error));
  }
  struct stat info {};
  if (::fstat(fd_, &info) == 0 && S_ISDIR(info.st_mode)) {
    ::close(std::exchange(fd_, -1));
    fail(path_, "a file", "a folder", "Check the path");
  }
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

void FileDescriptor::read_at(std::span<std::byte> out, uint64_t offset) const {
  const size_t wanted = out.size();
  size_t done = 0;
  while (done < wanted) {
    const ssize_t n = ::pread(fd_, out.data() + done, wanted - done, static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      fail(path_, fmt::format("to read {} bytes at offset {}", wanted, offset), reason(error), "Check the file system");
    }
    if (n == 0) {
      fail(path_, fmt::format("{} bytes at offset {}", wanted, offset), fmt::format("the end of the file after {} of them", done),
           "The file was cut short: copy or make it again");
    }
    done += static_cast<size_t>(n);
  }
}

uint64_t FileDescriptor::size() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    const int error = errno;
    fail(path_, "the file's size", reason(error), "Check the file system");
  }
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace dinoxx
