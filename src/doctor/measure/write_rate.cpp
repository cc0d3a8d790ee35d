#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/machine.hpp"
#include "clock_skew.hpp"
#include "collectives.hpp"
#include "comm/agree.hpp"
#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "history/run_history.hpp"
#include "write_rate.hpp"

namespace dinoxx::doctor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A file whose name is gone as soon as it is open: whatever ends the process, nothing is left.
class NamelessFile {
 public:
  NamelessFile(const fs::path& folder, int rank) : path_(folder / fmt::format(".doctor-{}-{}-{}", host_name(), ::getpid(), rank)) {
    file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file_ < 0) give_up("make a file");
    ::unlink(path_.c_str());
  }
  ~NamelessFile() { ::close(file_); }
  NamelessFile(const NamelessFile&) = delete;
  NamelessFile& operator=(const NamelessFile&) = delete;

  // Seconds until it is on the disk.
  double write(const std::string& bytes) {
    const Clock::time_point start = Clock::now();
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(file_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno != EINTR) give_up("write");
      if (n > 0) done += static_cast<size_t>(n);
    }
    if (::fsync(file_) != 0 && errno != EINVAL) give_up("fsync");
    return seconds_since(start);
  }
  // Of its last change, by the clock of the file system.
  double modified() const {
    struct stat info {};
    return ::fstat(file_, &info) == 0 ? static_cast<double>(info.st_mtim.tv_sec) + 1e-9 * static_cast<double>(info.st_mtim.tv_nsec) : 0;
  }

 private:
  [[noreturn]] static void give_up(const char* what) {
    throw Error(fmt::format("\"{}\" from an attempt to {} there", std::strerror(errno), what));
  }
  fs::path path_;
  int file_ = -1;
};

int64_t bytes_of_newest(const fs::path& run) {
  const auto newest = RunHistory(run).newest_checkpoint();
  if (!newest) return 0;
  int64_t bytes = 0;
  std::error_code ignored;
  for (fs::recursive_directory_iterator at(*newest, ignored), end; !ignored && at != end; at.increment(ignored))
    if (at->is_regular_file(ignored)) bytes += static_cast<int64_t>(at->file_size(ignored));
  return bytes;
}

}  // namespace

void refuse_no_folder(Communicator& comm, const fs::path& run) {
  on_all_ranks(comm, [&] {
    std::error_code code;
    if (!fs::is_directory(run, code))
      fail_usage("--run", "a folder", fmt::format("{} {} on {}", fs::exists(run, code) ? "a file at" : "no", run.string(), host_name()),
                 "Make it first, or name the folder in which runs are made");
  });
}

WriteRate write_rate(Communicator& comm, const fs::path& run, double seconds) {
  constexpr size_t kBlock = 4 << 20;
  constexpr double kMost = 1e9;  // bytes of a rank
  WriteRate rate;
  double bytes = 0, took = 0, sync = 0, clock = 0;
  std::string error;
  try {
    NamelessFile file(run, comm.rank());
    const std::string block(kBlock, 'x');
    sync = file.write("x");
    clock = file.modified() - wall_clock();
    const Clock::time_point start = Clock::now();
    while (took < seconds && bytes < kMost) {
      file.write(block);
      bytes += static_cast<double>(kBlock);
      took = seconds_since(start);
    }
  } catch (const Error& failure) {
    error = failure.what();
  }
  const std::vector<std::string> errors = gather_texts(comm, error);
  for (int r = comm.size(); r-- > 0;)
    if (!errors[static_cast<size_t>(r)].empty()) {
      rate.error = errors[static_cast<size_t>(r)];
      rate.failed = r;
    }
  at::Tensor sum = at::tensor({took > 0 ? bytes / took : 0.0}, at::kDouble), most = at::tensor({sync}, at::kDouble),
             chief = at::zeros({4}, at::kDouble);
  comm.all_reduce(sum, ReduceOp::kSum)->wait();
  comm.all_reduce(most, ReduceOp::kMax)->wait();
  if (comm.rank() == 0) {
    struct statvfs room {};
    const bool known = ::statvfs(run.c_str(), &room) == 0;
    chief[0] = known ? static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize) : 0;
    chief[1] = known && room.f_files > 0 ? static_cast<double>(room.f_favail) : -1;
    chief[2] = static_cast<double>(bytes_of_newest(run));
    chief[3] = clock;
  }
  comm.broadcast(chief, 0)->wait();
  rate.bytes_a_second = sum.item<double>();
  rate.sync = most.item<double>();
  rate.free = static_cast<int64_t>(chief[0].item<double>());
  rate.free_files = static_cast<int64_t>(chief[1].item<double>());
  rate.checkpoint = static_cast<int64_t>(chief[2].item<double>());
  rate.clock = chief[3].item<double>();
  return rate;
}

std::vector<Finding> write_findings(const RankMap& map, const fs::path& run, const WriteRate& rate) {
  constexpr double kSlow = 20e6, kLong = 60, kLate = 1;  // bytes a second, seconds of a save, seconds of the clock
  constexpr int64_t kLittle = int64_t{1} << 30;
  const std::string subject = "run folder " + run.string();
  std::vector<Finding> findings;
  if (!rate.error.empty()) {
    findings.push_back({Severity::kFault, subject, "a folder that " + ranks_in_words(map, {rate.failed}) + " can write to", rate.error,
                        "Look at its owner, mode, quota and mount, or choose another folder"});
    return findings;
  }
  const auto free = static_cast<double>(rate.free), checkpoint = static_cast<double>(rate.checkpoint);
  if (rate.checkpoint > 0 && rate.free < rate.checkpoint)
    findings.push_back({Severity::kFault, subject, fmt::format("room for the next checkpoint, {}", human_bytes(checkpoint)),
                        human_bytes(free) + " free", "Free space there, or choose another file system"});
  else if (rate.free < std::max(kLittle, 2 * rate.checkpoint))
    findings.push_back({Severity::kWarn, subject,
                        fmt::format("at least {} free", human_bytes(static_cast<double>(std::max(kLittle, 2 * rate.checkpoint)))),
                        human_bytes(free), "Free space there, or choose another file system"});
  if (rate.free_files >= 0 && rate.free_files < 1000)
    findings.push_back({Severity::kWarn, subject, "room for 1000 files", fmt::format("{} free inodes", rate.free_files),
                        "Remove files there, or choose another file system"});
  const double save = rate.bytes_a_second > 0 ? checkpoint / rate.bytes_a_second : 0;
  if (save > kLong)
    findings.push_back({Severity::kWarn, subject, fmt::format("a checkpoint of {} in a minute", human_bytes(checkpoint)),
                        fmt::format("{}, {}", rate_text(rate.bytes_a_second), human_time(save)),
                        "Choose a faster file system, or a larger checkpoint.every"});
  else if (rate.bytes_a_second < kSlow)
    findings.push_back({Severity::kWarn, subject, fmt::format("{} at least", rate_text(kSlow)), rate_text(rate.bytes_a_second),
                        "Choose a faster file system: training waits while a checkpoint is written"});
  if (std::abs(rate.clock) > kLate)
    findings.push_back({Severity::kWarn, subject, fmt::format("times of files by the clock of {}", map.front().host),
                        fmt::format("{:.1f} s {} of it", std::abs(rate.clock), rate.clock > 0 ? "ahead" : "behind"),
                        "Synchronise the clocks of host and file server (NTP)"});
  return findings;
}

}  // namespace dinoxx::doctor
