#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/files.hpp"
#include "base/machine.hpp"
#include "comm/agree.hpp"
#include "data_pipeline/loader/loader.hpp"
#include "dinoxx/base/error.hpp"
#include "read_rate.hpp"

namespace dinoxx::doctor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<fs::path> shards_of(const fs::path& data) {
  std::vector<fs::path> shards;
  std::error_code ignored;
  for (fs::directory_iterator at(data, ignored), end; !ignored && at != end; at.increment(ignored))
    if (at->path().extension() == ".h5") shards.push_back(at->path());
  return shards;
}

// What lies in memory says nothing about the disk. Only pages that nobody has changed go, and only from this machine's memory.
void drop_cached(const std::vector<fs::path>& shards) {
  for (const fs::path& shard : shards) {
    const FileDescriptor file(shard);
    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  }
}

struct Read {
  double images = 0, bytes = 0, seconds = 0, latency = 0;
};

Read read_images(const Dataset& dataset, const Communicator& comm, double seconds) {
  constexpr uint64_t kSeed = 20130;
  const Sampler order(dataset.size(), kSeed);
  const uint64_t mine = std::max<uint64_t>(dataset.size() / static_cast<uint64_t>(comm.size()), 1);
  const uint64_t first = mine * static_cast<uint64_t>(comm.rank());  // no two ranks read the same images
  std::vector<double> latencies;
  std::vector<uint8_t> bytes;
  Read read;
  const Clock::time_point start = Clock::now();
  for (uint64_t i = 0; i < mine && seconds_since(start) < seconds; ++i) {
    const Clock::time_point begin = Clock::now();
    dataset.read(order.row((first + i) % dataset.size()), bytes);
    latencies.push_back(seconds_since(begin));
    read.bytes += static_cast<double>(bytes.size());
    ++read.images;
  }
  read.seconds = seconds_since(start);
  const auto at = latencies.begin() + static_cast<std::ptrdiff_t>(latencies.size() * 9 / 10);
  if (at != latencies.end()) {
    std::nth_element(latencies.begin(), at, latencies.end());
    read.latency = *at;
  }
  return read;
}

}  // namespace

void refuse_no_data(Communicator& comm, const fs::path& data) {
  on_all_ranks(comm, [&] {
    std::error_code code;
    if (!fs::exists(data, code))
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {} on {}", data.string(), host_name()),
                 "Pack the images first, and see that all hosts see the folder");
    if (fs::is_directory(data, code) && !fs::exists(data / "manifest.json", code))
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no manifest.json in {} on {}", data.string(), host_name()),
                 "Name the --out of dinoxx pack");
  });
}

ReadRate read_rate(Communicator& comm, const fs::path& data, double seconds) {
  ReadRate rate;
  Read mine;
  try {
    std::shared_ptr<const Dataset> dataset;
    on_all_ranks(comm, [&] {
      const fs::path folder = fs::is_directory(data) ? data : data.parent_path();
      const std::vector<fs::path> shards = shards_of(folder);
      dataset = Dataset::open(data);
      if (dataset->size() == 0) fail(data.string(), "images", "none", "Pack again");
      drop_cached(shards);
      rate.shards = static_cast<int64_t>(shards.size());
      rate.images = dataset->size();
    });
    ranks_must_agree(comm, dataset->fingerprint(), "data set");
    comm.barrier();
    on_all_ranks(comm, [&] { mine = read_images(*dataset, comm, seconds); });
  } catch (const AgreedError& error) {
    rate.error = error.what();
    return rate;
  }
  const at::Tensor own = at::tensor({mine.images, mine.bytes, mine.seconds, mine.latency}, at::kDouble);
  at::Tensor all = at::empty({comm.size(), own.numel()}, at::kDouble);
  comm.all_gather(all, own)->wait();
  for (int r = 0; r < comm.size(); ++r) {
    const double* of = all.data_ptr<double>() + 4 * r;
    const double images = of[2] > 0 ? of[0] / of[2] : 0;
    rate.images_a_second += images;
    rate.bytes_a_second += of[2] > 0 ? of[1] / of[2] : 0;
    rate.latency = std::max(rate.latency, of[3]);
    if (r != 0 && images >= rate.slowest_rank) continue;
    rate.slowest_rank = images;
    rate.slowest = r;
  }
  return rate;
}

std::vector<Finding> read_findings(const RankMap& map, const fs::path& data, const ReadRate& rate) {
  constexpr double kWorker = 500;  // images a second that a loader thread decodes and augments, docs/bench_loader.md
  if (!rate.error.empty()) return {{Severity::kFault, "data folder " + data.string(), "images that all ranks can read", rate.error, ""}};
  if (rate.slowest_rank >= kWorker) return {};
  return {
      {Severity::kWarn, fmt::format("data folder {}, read by {}", data.string(), ranks_in_words(map, {rate.slowest})),
       fmt::format("{:.0f} images a second at least, what one loader thread can take", kWorker), fmt::format("{:.0f}", rate.slowest_rank),
       "Copy the folder to a disk of the hosts; data.cache_decoded = yes reads a set that fits in memory once; a larger data.workers hides "
       "latency"}};
}

}  // namespace dinoxx::doctor
