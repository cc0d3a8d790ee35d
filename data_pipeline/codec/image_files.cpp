#include "image_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/files.hpp"
#include "data_pipeline/pack/pack_plan.hpp"

namespace dinoxx {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;  // an image file beyond it is a mistake, and would be held in memory

[[noreturn]] void unreadable(const std::string& path, const char* expected, const std::string& found, const std::string& advice,
                             const char* kind, bool limit = false) {
  try {
    fail(path, expected, found, advice);
  } catch (const Error& error) {
    throw UnreadableImage(error.what(), kind, limit);
  }
}

[[noreturn]] void unreadable(const std::string& path, int error) {
  std::string advice = reading_advice(error);
  const char* kind = "read error";
  if (error == EACCES || error == EPERM) kind = "permission denied";
  if (error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG || error == ELOOP) {
    kind = "not found";
    if (path.find("://") != std::string::npos)
      advice = "Download it first: a path is one of this machine";
    else if (path.find('\\') != std::string::npos)
      advice = "Write / between folders, not \\";
  }
  unreadable(path, "a readable file", std::strerror(error), advice, kind, error == EMFILE || error == ENFILE || error == ENOMEM);
}

class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void check_is_file(const std::string& path, mode_t mode) {
  if (S_ISREG(mode)) return;
  const char* found = S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a named pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
  unreadable(path, "a file", found, "Remove it or name a file", "not a file");
}

}  // namespace

std::vector<ImageFile> list_images(const std::filesystem::path& folder) {
  std::vector<ImageFile> files;
  for (detail::PackItem& item : detail::plan_folder(folder, /*split_folders=*/true, /*for_pack=*/false).items)
    files.push_back({std::move(item.key), std::move(item.path)});
  return files;
}

void read_image_file(const std::filesystem::path& path, std::vector<uint8_t>& bytes) {
  const std::string name = path.string();
  struct stat info {};
  if (::stat(name.c_str(), &info) != 0) unreadable(name, errno);
  check_is_file(name, info.st_mode);  // before opening: opening a device may do something
  const OpenFile file(name);
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) unreadable(name, errno);
  check_is_file(name, info.st_mode);
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size == 0) unreadable(name, "an image", "an empty file", "Get it again or remove it", "empty");
  if (size > kMaxFileBytes)
    unreadable(name, "an image", fmt::format("a file of {} bytes", size), fmt::format("At most {} are read", kMaxFileBytes), "too large");
  bytes.resize(size);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) unreadable(name, errno);
    if (n == 0)
      unreadable(name, fmt::format("{} bytes", size).c_str(), fmt::format("the end of the file after {} of them", done),
                 "It changes while it is read", "read error");
    done += static_cast<size_t>(n);
  }
}

}  // namespace dinoxx
