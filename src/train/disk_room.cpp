#include "disk_room.hpp"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "calendar.hpp"
#include "checkpoint/checkpoint_config.hpp"
#include "comm/agree.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "history/run_history.hpp"
#include "stopwatch.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

// A file that is gone when this is.
class TrialFile {
 public:
  explicit TrialFile(fs::path path) : path_(std::move(path)), file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (file_ < 0) give_up("to write the file");
  }
  ~TrialFile() {
    if (file_ >= 0) ::close(file_);
    ::unlink(path_.c_str());
  }
  TrialFile(const TrialFile&) = delete;
  TrialFile& operator=(const TrialFile&) = delete;

  // Seconds until `size` bytes are on the disk.
  double write(const std::string& bytes, size_t size) {
    const Stopwatch took;
    for (size_t done = 0; done < size;) {
      const ssize_t n = ::write(file_, bytes.data(), std::min(bytes.size(), size - done));
      if (n < 0 && errno != EINTR) give_up("to write the file");
      if (n > 0) done += static_cast<size_t>(n);
    }
    if (::fsync(file_) != 0 && errno != EINVAL) give_up("fsync to succeed");
    return took.seconds();
  }

 private:
  [[noreturn]] void give_up(const char* expected) const {
    fail(path_.string(), expected, std::strerror(errno), "Free space on that file system, or choose another folder");
  }
  fs::path path_;
  int file_;
};

}  // namespace

fs::path save_folder(const RunHistory& history) {
  return fs::exists(history.checkpoints_folder()) ? history.checkpoints_folder() : history.folder();
}

DiskRoom disk_room(const Training& training, const RunHistory& history) {
  DiskRoom room;
  room.checkpoint = checkpoint_bytes(training.state).all();
  const int64_t batch = train_batch_size(training.config), keep = training.config.checkpoint->keep;
  const std::optional<SavedRun>& origin = training.origin.from;
  const int64_t from = origin ? origin->step : 0;
  const uint64_t position = origin ? origin->position : 0;
  const int64_t left = training.schedules.total_steps() - (static_cast<int64_t>(position) + batch - 1) / batch;
  const Calendar calendar(training.config, training.inputs.ids.size(), from + left, from, position);
  int64_t there = 0;  // what a rewind moves to a branch stays on the disk and does not make room
  for (const SavedCheckpoint& checkpoint : history.checkpoints())
    if (checkpoint.step <= from && !calendar.keeps(checkpoint.step)) ++there;
  const int64_t to_come = calendar.saves_until_end(from, keep + 1);
  room.at_once = std::min(keep + 1, there + to_come);
  room.kept = calendar.kept_until_end(from);
  if (to_come > 0) room.wanted = std::max<int64_t>(room.at_once - there, 1) * room.checkpoint;
  fs::path folder = fs::absolute(save_folder(history));
  while (!fs::exists(folder) && folder != folder.parent_path()) folder = folder.parent_path();
  room.free = static_cast<int64_t>(fs::space(folder).available);
  struct statvfs inodes {};
  if (::statvfs(folder.c_str(), &inodes) == 0 && inodes.f_files > 0) room.files = static_cast<int64_t>(inodes.f_favail);
  return room;
}

void try_to_write(const fs::path& folder, int rank) {
  const TrialFile file(folder / fmt::format(".trial-{}", rank));
}

double assumed_save_seconds(Communicator& comm, const fs::path& folder, const CheckpointBytes& bytes) {
  constexpr int kSyncs = 8;            // of files and folders that rank 0 waits for in a save
  constexpr double kLongEnough = 0.5;  // seconds, to tell a rate
  const int64_t mine = bytes.shared / comm.size() + (comm.rank() == 0 ? bytes.chief : 0);
  at::Tensor seconds = at::zeros({1}, at::kDouble);
  on_all_ranks(comm, [&] {
    TrialFile file(folder / fmt::format(".trial-{}", comm.rank()));
    const std::string block(1 << 20, 'x');
    const double sync = file.write(block, 4096);
    double took = 0, rate = 0;
    int64_t written = 0;
    for (auto part = static_cast<int64_t>(block.size()); written < mine && took < kLongEnough; part *= 2) {
      const int64_t now = std::min(part, mine - written);
      took = file.write(block, static_cast<size_t>(now));
      rate = static_cast<double>(now) / took;
      written += now;
    }
    seconds[0] = kSyncs * sync + static_cast<double>(mine) / rate;
  });
  comm.all_reduce(seconds, ReduceOp::kMax)->wait();
  return seconds.item<double>();
}

}  // namespace dinoxx
