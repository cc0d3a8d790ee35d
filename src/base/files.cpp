#include "files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

std::string reason(int error) {
  return std::strerror(error);
}

std::string writing_advice(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "Free space on that file system, or choose another folder";
    case EACCES:
    case EPERM:
    case EROFS:
      return "Choose a folder that you may write to, or change its permissions";
    default:
      return reading_advice(error);
  }
}

}  // namespace

std::string reading_advice(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return "Ask its owner for permission to read it, or start the program as somebody who has it";
    case EMFILE:
      return "Raise the limit on open files (ulimit -n), or use fewer threads";
    case ENFILE:
      return "This machine has no open files left: end other programs";
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return "Check the path";
    case ELOOP:
      return "A link leads to itself: check the path";
    case EIO:
      return "The disk or the network fails: look into the system's log";
    default:
      return "Check the path and the file system";
  }
}

std::string read_text(const std::filesystem::path& path) {
  const FileDescriptor file(path);
  std::string text;
  std::string chunk(size_t{1} << 16, '\0');
  for (;;) {  // to the end, whatever stat says: /proc files and pipes have size 0
    const ssize_t n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      fail(path.string(), "a readable file", reason(error), reading_advice(error));
    }
    if (n == 0) return text;
    text.append(chunk.data(), static_cast<size_t>(n));
  }
}

void sync_path(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    fail(path.string(), "to open it for fsync", reason(error), writing_advice(error));
  }
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  // some file systems do not know fsync on a folder; their renames are ordered by other means
  if (result != 0 && error != EINVAL && error != EROFS) fail(path.string(), "fsync to succeed", reason(error), writing_advice(error));
}

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : path_(path.string()),
      temporary_(path_ + ".tmp." + std::to_string(::getpid())),
      fd_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (fd_ < 0) {
    const int error = errno;
    fail(path_, "to write the file", reason(error), writing_advice(error));
  }
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (!temporary_.empty()) ::unlink(std::exchange(temporary_, {}).c_str());
}

void AtomicFile::report(int error) {
  discard();
  fail(path_, "to write the file", reason(error), writing_advice(error));
}

void AtomicFile::write(std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd_, content.data(), content.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      report(errno);
    }
    content.remove_prefix(static_cast<size_t>(n));
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0 && errno != EINVAL) report(errno);
  if (::close(std::exchange(fd_, -1)) != 0) report(errno);  // where NFS and quotas report what they held back
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    discard();
    fail(path_, "to rename the finished file into place", reason(error), writing_advice(error));
  }
  temporary_.clear();
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  sync_path(folder.empty() ? std::filesystem::path(".") : folder);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void make_writable_directory(const std::filesystem::path& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) fail(path.string(), "to make the folder", code.message(), writing_advice(code.value()));
  if (!std::filesystem::is_directory(path, code)) fail(path.string(), "a folder", "a file of that name", "Choose another path");
  // permission bits do not tell everything (read-only mounts, quotas, root squash): write something; never committed, so it vanishes
  AtomicFile probe(path / ".probe");
  probe.write("dinoxx");
}

FileDescriptor::FileDescriptor(const std::filesystem::path& path) : path_(path.string()) {
  do {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) {
    const int error = errno;
    fail(path_, "a readable file", reason(error), reading_advice(error));
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
      fail(path_, fmt::format("to read {} bytes at offset {}", wanted, offset), reason(error), reading_advice(error));
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
