#include "shared_files.hpp"

#include <ATen/ATen.h>
#include <dirent.h>
#include <signal.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

#include "base/crc32c.hpp"
#include "base/files.hpp"
#include "base/machine.hpp"
#include "base/mapped_file.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "other_weights.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// A client of NFS may answer for up to half a minute from what it saw before (acdirmin); linux/magic.h.
constexpr auto kPatience = std::chrono::seconds(40);
bool may_show_files_late(const fs::path& folder) {
  fs::path there = fs::absolute(folder);
  struct statfs about {};
  while (::statfs(there.c_str(), &about) != 0 && there != there.parent_path()) there = there.parent_path();
  constexpr uint32_t kLocal[] = {0xEF53 /* ext */,       0x58465342 /* XFS */,     0x9123683E /* Btrfs */,
                                 0x01021994 /* tmpfs */, 0x794C7630 /* overlay */, 0x2FC12FC1 /* ZFS */};
  return std::find(std::begin(kLocal), std::end(kLocal), static_cast<uint32_t>(about.f_type)) == std::end(kLocal);
}

// Opening a folder makes a network file system ask its server for it anew.
void look_into(const fs::path& folder) {
  if (DIR* opened = ::opendir(folder.c_str())) ::closedir(opened);
}

bool holds(const fs::path& file, const std::string& text) {
  std::error_code ignored;
  return fs::exists(file, ignored) && read_text(file).starts_with(text);
}

bool comes_to_hold(const fs::path& file, const std::string& text) {
  const auto end = Clock::now() + (may_show_files_late(file.parent_path()) ? kPatience : Clock::duration::zero());
  while (!holds(file, text)) {
    if (Clock::now() >= end) return false;
    look_into(file.parent_path().parent_path());
    look_into(file.parent_path());
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return true;
}

constexpr const char* kToken = ".shared-";

// Files of checks that were killed: of a process of this host that is gone, or older by far than a check takes, by the file server's own
// clock.
void remove_old_tokens(const fs::path& folder, const fs::path& own) {
  constexpr auto kLongest = std::chrono::minutes(10);
  std::error_code ignored;
  const auto now = own.empty() ? fs::file_time_type::clock::now() : fs::last_write_time(own, ignored);
  std::vector<std::string> gone;
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kToken) || entry.path() == own || !entry.is_regular_file(ignored)) continue;
    files.push_back(entry.path());
    const auto written = entry.last_write_time(ignored);
    std::istringstream words(written < now - kLongest ? "" : read_text(entry.path()));
    std::string token, host;
    pid_t process = 0;
    const bool known = static_cast<bool>(words >> token >> host >> process);
    if (written < now - kLongest || (known && host == host_name() && ::kill(process, 0) != 0 && errno == ESRCH)) gone.push_back(name);
  }
  for (const fs::path& file : files)  // with those of its other ranks
    for (const std::string& name : gone)
      if (file.filename().string().starts_with(name)) fs::remove(file, ignored);
}

// A number that no other run has.
std::string agreed_token(Communicator& comm) {
  at::Tensor token = at::zeros({2}, at::kLong);
  std::random_device device;
  for (int i = 0; i < 2; ++i) token[i] = static_cast<int64_t>(device());
  comm.broadcast(token, 0)->wait();
  return fmt::format("{:08x}{:08x}", token[0].item<int64_t>(), token[1].item<int64_t>());
}

std::string fingerprint(const fs::path& path) {
  std::vector<fs::path> files;
  if (fs::is_directory(path)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path());
  } else {
    files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const fs::path& file : files) {
    const MappedFile content{FileDescriptor(file)};
    text += fmt::format("{} {} {:08x}\n", file.filename().string(), content.bytes().size(),
                        crc32c(content.bytes().data(), content.bytes().size()));
  }
  return text;
}

}  // namespace

void check_shared_folder(Communicator& comm, const fs::path& folder) {
  if (comm.size() == 1) return remove_old_tokens(folder, {});
  const std::string token = agreed_token(comm);
  const fs::path written = folder / fmt::format("{}{}", kToken, token);
  try {
    on_all_ranks(comm, [&] {
      if (comm.rank() != 0) return;
      write_file_atomically(written, fmt::format("{} {} {}\n", token, host_name(), ::getpid()));
      remove_old_tokens(folder, written);
    });
    on_all_ranks(comm, [&] {
      if (comm.rank() == 0) return;
      if (!comes_to_hold(written, token))
        fail_usage("--out", "a run folder on a file system that all hosts share, at the same path",
                   fmt::format("another {} on host {} than on rank 0's (a file that rank 0 wrote is not there)",
                               fs::absolute(folder).string(), host_name()),
                   "Every rank writes its part of a checkpoint there: choose a folder on the shared file system");
      const fs::path own = fmt::format("{}-{}", written.string(), comm.rank());
      write_file_atomically(own, token);
      fs::remove(own);
    });
  } catch (...) {
    std::error_code ignored;
    if (comm.rank() == 0) fs::remove(written, ignored);
    throw;
  }
  on_all_ranks(comm, [&] {
    if (comm.rank() == 0) fs::remove(written);
  });
}

void check_same_files(Communicator& comm, const char* key, const fs::path& path) {
  if (comm.size() == 1) return;
  std::string mine;
  on_all_ranks(comm, [&] { mine = fingerprint(weight_path(key, path)); });
  ranks_must_agree(comm, mine, fmt::format("{}, {}", key, path.string()));
}

}  // namespace dinoxx
