#include "pack_output.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/files.hpp"
#include "base/machine.hpp"
#include "data_pipeline/format/manifest.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;
constexpr const char* kPartial = ".partial";
constexpr const char* kLock = ".lock";
constexpr const char* kProbe = ".probe-of-rename";
constexpr const char* kReplaced = ".replaced";  // in .partial: the old data folder while the new one moves in
constexpr int kMaxLinks = 40;                   // as the kernel

fs::path without_trailing_slash(const fs::path& path) {
  fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

/// Where a chain of links ends, whether or not something is there.
fs::path resolved(fs::path path) {
  std::error_code code;
  for (int i = 0; i < kMaxLinks && fs::is_symlink(path, code); ++i) path = (path.parent_path() / fs::read_symlink(path)).lexically_normal();
  if (fs::is_symlink(path, code)) fail_usage(path.string(), "a folder", "a link that leads to itself", "Choose another --out");
  return without_trailing_slash(path);
}

bool is_of_a_data_folder(const std::string& name) {
  return name == kManifestName || name == "bad.csv" || name == "faults.csv" || (name.starts_with("shard-") && name.ends_with(".h5"));
}

/// What file systems and desktops put into folders by themselves says nothing.
bool is_somebodys(const std::string& name) {
  return !name.starts_with('.') && name != "lost+found" && name != "@eaDir";
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, code)) names.push_back(entry.path().filename().string());
  return names;
}

void move_into(const fs::path& from, const fs::path& to, const std::string& name) {
  std::error_code code;
  fs::rename(from / name, to / name, code);
  if (code) fail((to / name).string(), "to rename the finished file into place", code.message(), "Check the file system");
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& out, bool overwrite) {
  if (out.empty()) fail_usage("--out", "a folder", "nothing", "Name the data folder to make");
  out_ = without_trailing_slash(out);
  target_ = resolved(out_);
  partial_ = target_ / kPartial;
  check(overwrite);
  std::error_code code;
  for (fs::path at = target_; !at.empty() && !fs::exists(at, code); at = at.parent_path()) made_ = at;
  try {
    open();
    check(overwrite);  // once more: a replacement that was killed half-way is taken back by now
  } catch (...) {
    remove_new();
    throw;
  }
}

void OutputFolder::check(bool overwrite) const {
  std::error_code code;
  if (!fs::exists(target_, code)) return;
  if (!fs::is_directory(target_, code)) fail_usage(out_.string(), "a new folder", "a file of that name", "Choose another --out");
  if (fs::exists(target_ / kManifestName, code)) {
    if (!overwrite)
      fail_usage(out_.string(), "a new folder", "a data folder of another input or of other options",
                 "Give --append to add the images that it does not have, --overwrite to replace it, or choose another --out");
    return;
  }
  const bool unfinished = fs::exists(partial_, code);
  for (const std::string& name : names_in(target_)) {
    if (!is_somebodys(name) || (unfinished && is_of_a_data_folder(name))) continue;
    fail_usage(out_.string(), "a new or empty folder", "a folder with other files, such as " + name,
               "Choose another --out; only data folders are overwritten");
  }
}

void OutputFolder::open() {
  make_writable_directory(partial_);
  const fs::path lock_file = partial_ / kLock;
  lock_ = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail(lock_file.string(), "to make the file", std::strerror(errno), "Choose another --out");
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(std::exchange(lock_, -1));
    fail_usage(partial_.string(), "a folder of our own", "one that another dinoxx pack is writing", "Wait for it, or choose another --out");
  }
  finish_commit_of_a_killed_run();
  write_file_atomically(partial_ / kProbe, "dinoxx");
  move_into(partial_, target_, kProbe);
  fs::remove(target_ / kProbe);
}

/// Its files without a manifest are of no use, and may stand in the place of a data folder's.
void OutputFolder::finish_commit_of_a_killed_run() {
  std::error_code code;
  if (!fs::exists(target_ / kManifestName, code)) restore_replaced();
  fs::remove_all(partial_ / kReplaced, code);
}

/// Puts the old data folder back in the place of what is there of the new one.
void OutputFolder::restore_replaced() {
  std::error_code code;
  for (const std::string& name : names_in(target_)) {
    if (is_of_a_data_folder(name)) fs::remove(target_ / name, code);
  }
  for (const std::string& name : names_in(partial_ / kReplaced)) {
    if (name != kManifestName) fs::rename(partial_ / kReplaced / name, target_ / name, code);
  }
  if (fs::exists(partial_ / kReplaced / kManifestName, code)) move_into(partial_ / kReplaced, target_, std::string(kManifestName));
}

void OutputFolder::remove_new() {
  std::error_code code;
  if (lock_ < 0) {  // another run's, or never made
    if (!fs::exists(partial_ / kLock, code)) fs::remove(partial_, code);
  } else {
    ::close(std::exchange(lock_, -1));  // before: NFS keeps the name of an open file
    if (keep_) return;
    fs::remove_all(partial_, code);
  }
  if (made_.empty()) return;
  for (fs::path at = target_; fs::remove(at, code) && at != made_; at = at.parent_path()) {
  }
}

OutputFolder::~OutputFolder() {
  if (lock_ >= 0) remove_new();
}

void OutputFolder::check_space(uint64_t bytes) const {
  std::error_code code;
  const fs::space_info space = fs::space(target_, code);
  constexpr uint64_t kSlack = 5;  // an estimate, wrong by a fifth at most
  if (code || bytes - bytes / kSlack <= space.available) return;
  fail(out_.string(), "about " + human_bytes(static_cast<double>(bytes)) + " free", human_bytes(static_cast<double>(space.available)),
       "Free space on that file system, or choose another --out");
}

void OutputFolder::commit() {
  sync_path(partial_);
  const fs::path replaced = partial_ / kReplaced;
  std::error_code code;
  try {
    if (fs::exists(target_ / kManifestName)) {
      fs::create_directory(replaced);
      move_into(target_, replaced, std::string(kManifestName));
      for (const std::string& name : names_in(target_)) {
        if (is_of_a_data_folder(name)) move_into(target_, replaced, name);
      }
    }
    for (const std::string& name : names_in(partial_)) {
      if (name != kLock && name != kReplaced && name != kManifestName) move_into(partial_, target_, name);
    }
    sync_path(target_);
    move_into(partial_, target_, std::string(kManifestName));
  } catch (...) {
    restore_replaced();
    throw;
  }
  sync_path(target_);
  ::close(std::exchange(lock_, -1));
  fs::remove_all(partial_, code);
}

}  // namespace dinoxx::detail
