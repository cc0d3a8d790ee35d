#include "run_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/machine.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {

namespace fs = std::filesystem;

RunFolder::RunFolder(const fs::path& path) : path_(path), made_(!fs::exists(path)) {
  make_writable_directory(path);
  const std::string file = (path / ".lock").string();
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail(file, "to open the lock file", std::strerror(errno), "Choose a folder that you may write to");
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    char holder[300] = "";
    const ssize_t n = ::pread(lock_, holder, sizeof holder - 1, 0);
    ::close(lock_);
    if (error == EWOULDBLOCK)
      fail_usage(path.string(), "a run folder that no other run uses", n > 0 ? fmt::format("a lock held by {}", holder) : "a lock",
                 "Wait for that run or end it, or choose another --out");
    fail(file, "to lock the run folder", std::strerror(error), "Choose a file system with flock");
  }
  const std::string holder = fmt::format("process {} on {}", ::getpid(), host_name());
  if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, holder.data(), holder.size(), 0) < 0)
    fail(file, "to write the lock file", std::strerror(errno), "Free space");
}

RunFolder::~RunFolder() {
  if (metrics_ >= 0) ::close(metrics_);
  if (made_ && metrics_ < 0) {  // nothing has begun: a refused start leaves no folder
    std::error_code ignored;
    fs::remove(path_ / ".lock", ignored);
    fs::remove(path_, ignored);
  }
  if (lock_ >= 0) ::close(lock_);  // which releases the lock
}

void RunFolder::open_metrics(const fs::path& file) {
  metrics_file_ = file;
  metrics_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (metrics_ < 0) fail(file.string(), "to write the file", std::strerror(errno), "Choose a folder that you may write to");
}

void RunFolder::log(const nlohmann::json& record) {
  // numbers that are none would not be JSON: null stands for them
  const std::string line = json_text(record) + "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(metrics_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(metrics_file_.string(), "to write a line", std::strerror(errno), "Free space on that file system, then resume");
    done += static_cast<size_t>(n);
  }
}

void RunFolder::sync_metrics() {
  if (::fsync(metrics_) != 0 && errno != EINVAL)
    fail(metrics_file_.string(), "fsync to succeed", std::strerror(errno), "Check the file system");
}

}  // namespace dinoxx
