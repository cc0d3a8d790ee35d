#include "pack_output.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/files.hpp"
#include "data_pipeline/format/manifest.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;
constexpr const char* kLock = ".lock";

fs::path without_trailing_slash(const fs::path& path) {
  fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& out, bool overwrite) {
  if (out.empty()) fail_usage("--out", "a folder", "nothing", "Name the data folder to make");
  out_ = without_trailing_slash(out);
  partial_ = out_.string() + ".partial";
  std::error_code code;
  if (fs::exists(out_, code)) {
    if (!fs::is_directory(out_, code)) fail_usage(out_.string(), "a new folder", "a file of that name", "Choose another --out");
    if (!fs::is_empty(out_, code)) {
      if (!fs::exists(out_ / kManifestName, code)) {
        fail_usage(out_.string(), "a new or empty folder", "a folder with other files",
                   "Choose another --out; only data folders are overwritten");
      }
      if (!overwrite)
        fail_usage(out_.string(), "a new folder", "a data folder of another input or of other options",
                   "Give --append to add the images that it does not have, --overwrite to replace it, or choose another --out");
    }
  }
  make_writable_directory(partial_);
  const fs::path lock_file = partial_ / kLock;
  lock_ = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail(lock_file.string(), "to make the file", std::strerror(errno), "Choose another --out");
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(std::exchange(lock_, -1));
    fail_usage(partial_.string(), "a folder of our own", "one that another dinoxx pack is writing", "Wait for it, or choose another --out");
  }
}

OutputFolder::~OutputFolder() {
  if (lock_ < 0) return;
  std::error_code code;
  if (!keep_) fs::remove_all(partial_, code);
  ::close(lock_);
}

void OutputFolder::commit() {
  fs::remove(partial_ / kLock);
  sync_path(partial_);
  const fs::path old = out_.string() + ".replaced";
  std::error_code code;
  fs::remove_all(old, code);
  const bool replaces = fs::exists(out_);
  if (replaces) fs::rename(out_, old);
  fs::rename(partial_, out_, code);
  if (code) {
    if (replaces) fs::rename(old, out_);
    fail(out_.string(), "to rename the finished folder into place", code.message(), "Check the file system");
  }
  ::close(std::exchange(lock_, -1));
  sync_path(out_.parent_path());
  fs::remove_all(old, code);
}

}  // namespace dinoxx::detail
