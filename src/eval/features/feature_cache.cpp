#include "feature_cache.hpp"

#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>

#include "base/crc32c.hpp"
#include "base/json_text.hpp"
#include "base/mapped_file.hpp"
#include "blocks.hpp"
#include "data_pipeline/format/content_hash.hpp"
#include "dinoxx/base/error.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/backbone_json.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kFormat = "dinoxx features 1";
constexpr const char* kSuffix = ".safetensors";
constexpr const char* kUnfinished = ".new";  // an entry that is being written; its name tells who writes
constexpr size_t kNameDigits = 32;
// Left free on the disk: the numbers themselves still have to be written.
constexpr uint64_t kSpare = uint64_t{64} << 20;

std::string hash_of(const void* data, size_t size) {
  return detail::hash_text(detail::hash128(data, size));
}

// Another program, or the same on another type of processor, may give other last bits.
const json& machine() {
  static const json found = [] {
    json about = {{"capability", at::get_cpu_capability()}};
    std::ifstream cpus("/proc/cpuinfo");
    for (std::string line; std::getline(cpus, line);) {
      if (!line.starts_with("model name")) continue;
      about["processor"] = line.substr(line.find(':') + 1);
      break;
    }
    try {
      const MappedFile program{FileDescriptor("/proc/self/exe")};
      about["program"] = hash_of(program.bytes().data(), program.bytes().size());
    } catch (const Error&) {  // no /proc: only the version is known
    }
    return about;
  }();
  return found;
}

bool is_entry(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.size() == kNameDigits + std::strlen(kSuffix) && name.ends_with(kSuffix) &&
         name.find_first_not_of("0123456789abcdef") == kNameDigits;
}

uint32_t checksum(std::span<const std::byte> ids, std::span<const std::byte> rows) {
  return crc32c(rows.data(), rows.size(), crc32c(ids.data(), ids.size()));
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.data_ptr()), static_cast<size_t>(tensor.nbytes())};
}

at::Tensor tensor_of(std::span<const uint64_t> ids) {
  const at::Tensor tensor = at::empty({static_cast<int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), tensor.data_ptr<int64_t>());
  return tensor;
}

std::string entry_name(const Embedder& embedder, std::span<const uint64_t> ids) {
  return fmt::format("{}, {} images", embedder.name, ids.size());
}

// Of anything else it is unknown what its features depend on.
bool is_known(const Embedder& embedder) {
  return embedder.network || embedder.name == "raw" || embedder.name == "hash";
}

// All that features depend on besides the images.
json identity_of(const Embedder& embedder) {
  if (!embedder.network) return {{"description", embedder.description}};
  const Backbone& network = *embedder.network;
  std::string hashes;
  for (const NamedTensor& stored : stored_state(network)) {
    const at::Tensor bits = stored.tensor.detach().to(at::kCPU).contiguous();
    hashes += fmt::format("{} {} {}\n", stored.name, c10::toString(bits.scalar_type()),
                          hash_of(bits.data_ptr(), static_cast<size_t>(bits.nbytes())));
  }
  const at::Tensor& first = network.parameters().front().tensor;
  return {{"model", to_json(network.config())},
          {"weights", hash_of(hashes.data(), hashes.size())},
          {"precision", c10::toString(first.scalar_type())},
          {"device", c10::DeviceTypeName(first.device().type())}};
}

// Adds up the time until it goes out of scope.
class Timer {
 public:
  explicit Timer(double& seconds) : seconds_(seconds) {}
  ~Timer() { seconds_ += std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  double& seconds_;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace

FeatureCache::FeatureCache(fs::path folder, uint64_t limit, std::function<void(const std::string&)> say)
    : folder_(std::move(folder)), limit_(limit), say_(std::move(say)), begin_(fs::file_time_type::clock::now()) {}

void FeatureCache::note(const std::string& text) {
  if (std::find(notes_.begin(), notes_.end(), text) != notes_.end()) return;
  notes_.push_back(text);
  if (say_) say_(fmt::format("feature cache {}: {}", folder_.string(), text));
}

FeatureCache::Key FeatureCache::key(const Dataset& dataset, std::span<const uint64_t> ids, const Embedder& embedder,
                                    const ExtractOptions& options) {
  if (!identities_.contains(embedder.name)) identities_[embedder.name] = identity_of(embedder);
  const json key = {{"format", kFormat},
                    {"block", kEvalBlock},
                    {"embedder", identities_.at(embedder.name)},
                    {"reading", embedder.reading},
                    {"dim", embedder.dim},
                    {"transform", {options.transform.resize, options.transform.crop}},
                    {"mean", options.normalization.mean},
                    {"std", options.normalization.std},
                    {"data", dataset.fingerprint()},
                    {"images", ids.size()},
                    {"ids", hash_of(ids.data(), ids.size_bytes())},
                    {"libtorch", TORCH_VERSION},
                    {"machine", machine()}};
  const std::string text = json_text(key);
  return {text, folder_ / (hash_of(text.data(), text.size()) + kSuffix)};
}

// Throws what is wrong with the entry.
FeatureSet FeatureCache::load(const Key& key, std::span<const uint64_t> ids, const Embedder& embedder) const {
  const SafetensorsFile file(key.file);
  const auto found = file.metadata().find("key");
  const auto crc = file.metadata().find("crc32c");
  if (found == file.metadata().end() || crc == file.metadata().end() || found->second != key.text) throw Error("it holds something else");
  const TensorView &stored_ids = file.at("ids"), &stored_rows = file.at("features");
  const auto count = static_cast<int64_t>(ids.size());
  if (stored_ids.dtype != DType::kI64 || stored_ids.shape != std::vector<int64_t>{count} || stored_rows.dtype != DType::kF32 ||
      stored_rows.shape != std::vector<int64_t>{count, embedder.dim})
    throw Error("it holds something else");
  FeatureSet features{at::empty({count}, at::kLong), {at::empty({count, embedder.dim}, at::kFloat)}};
  std::memcpy(features.ids.data_ptr(), stored_ids.bytes.data(), stored_ids.bytes.size());
  std::memcpy(features.rows[0].data_ptr(), stored_rows.bytes.data(), stored_rows.bytes.size());
  if (fmt::format("{:08x}", checksum(bytes_of(features.ids), bytes_of(features.rows[0]))) != crc->second)
    throw Error("its checksum is wrong: the file is damaged");
  if (!at::equal(features.ids, tensor_of(ids))) throw Error("it holds other images");
  return features;
}

std::optional<FeatureSet> FeatureCache::read(const Dataset& dataset, std::span<const uint64_t> ids, const Embedder& embedder,
                                             const ExtractOptions& options, Communicator& comm) {
  if (ids.empty() || !is_known(embedder)) return std::nullopt;
  const Timer timer(seconds_);
  const auto count = static_cast<int64_t>(ids.size());
  // rank 0 alone looks: the others may be on machines that do not see the folder, and all must come to the same conclusion
  FeatureSet all;
  at::Tensor there = at::zeros({1}, at::kLong);
  if (comm.rank() == 0) {
    const Key wanted = key(dataset, ids, embedder, options);
    try {
      if (fs::exists(wanted.file)) {
        all = load(wanted, ids, embedder);
        there.fill_(1);
        read_.push_back(entry_name(embedder, ids));
        std::error_code ignored;  // of a colleague's entry
        fs::last_write_time(wanted.file, fs::file_time_type::clock::now(), ignored);
      }
    } catch (const std::exception& error) {
      note(fmt::format("{} is not used ({}); the images are embedded again", wanted.file.filename().string(), error.what()));
    }
  }
  comm.broadcast(there, 0)->wait();
  if (there.item<int64_t>() == 0) return std::nullopt;
  if (comm.rank() != 0) all = {at::empty({count}, at::kLong), {at::empty({count, embedder.dim}, at::kFloat)}};
  comm.broadcast(all.ids, 0)->wait();
  comm.broadcast(all.rows[0], 0)->wait();
  if (comm.size() == 1) return all;
  const ItemRange mine = rank_items(count, comm.rank(), comm.size());
  return FeatureSet{all.ids.narrow(0, mine.begin, mine.size()).clone(), {all.rows[0].narrow(0, mine.begin, mine.size()).clone()}};
}

// Removes what was not used for longest, and what writers that are no more have left, until `bytes` more fit. Never what this evaluation
// has used.
void FeatureCache::make_room(uint64_t bytes) const {
  struct Entry {
    fs::file_time_type used;
    fs::path file;
    uint64_t size;
  };
  std::vector<Entry> entries;
  uint64_t total = bytes;
  std::error_code error;
  for (const fs::directory_entry& at : fs::directory_iterator(folder_, error)) {
    const fs::file_time_type used = at.last_write_time(error);
    if (error) continue;
    if (at.path().filename().string().find(std::string(kSuffix) + ".") == kNameDigits) {
      if (begin_ - used > std::chrono::hours(24)) fs::remove(at.path(), error);
      continue;
    }
    const uint64_t size = is_entry(at.path()) ? at.file_size(error) : 0;
    if (error || size == 0) continue;
    entries.push_back({used, at.path(), size});
    total += size;
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.used, a.file) < std::tie(b.used, b.file); });
  for (const Entry& entry : entries) {
    if (total <= limit_ || entry.used >= begin_) break;
    if (fs::remove(entry.file, error)) total -= entry.size;
  }
  if (total > limit_)
    throw Error(fmt::format("{:.1f} MB more would exceed the limit of {:.1f} MB", static_cast<double>(bytes) / 1e6,
                            static_cast<double>(limit_) / 1e6));
  const fs::space_info space = fs::space(folder_, error);
  if (!error && space.available < bytes + kSpare)
    throw Error(fmt::format("{:.1f} MB are free on the disk, {:.1f} MB are needed", static_cast<double>(space.available) / 1e6,
                            static_cast<double>(bytes + kSpare) / 1e6));
}

void FeatureCache::store(const Key& key, std::span<const uint64_t> ids, const at::Tensor& rows) {
  fs::create_directories(folder_);
  make_room(static_cast<uint64_t>(rows.nbytes()) + ids.size_bytes());
  const at::Tensor stored_ids = tensor_of(ids);
  // two writers of one entry: each has a file of its own, and the second to finish replaces the first by the same content
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  static std::atomic<int> count{0};
  const fs::path unfinished = key.file.string() + fmt::format(".{}.{}.{}{}", host, ::getpid(), ++count, kUnfinished);
  std::error_code ignored;
  try {
    write_safetensors(unfinished,
                      {{"ids", {DType::kI64, {stored_ids.size(0)}, bytes_of(stored_ids)}},
                       {"features", {DType::kF32, {rows.size(0), rows.size(1)}, bytes_of(rows)}}},
                      {{"key", key.text}, {"crc32c", fmt::format("{:08x}", checksum(bytes_of(stored_ids), bytes_of(rows)))}});
    fs::last_write_time(unfinished, fs::file_time_type::clock::now());  // by this machine's clock, as begin_
    fs::rename(unfinished, key.file);
  } catch (...) {
    fs::remove(unfinished, ignored);
    throw;
  }
}

void FeatureCache::write(const Dataset& dataset, std::span<const uint64_t> ids, const Embedder& embedder, const ExtractOptions& options,
                         const at::Tensor& rows, Communicator& comm) {
  if (ids.empty() || !is_known(embedder)) return;
  const uint64_t bytes = ids.size() * (static_cast<uint64_t>(embedder.dim) * sizeof(float) + sizeof(uint64_t));
  const std::string name = entry_name(embedder, ids);
  if (bytes > limit_) {
    if (comm.rank() == 0)
      note(fmt::format("not kept: {} ({:.1f} MB, more than the limit of {:.1f} MB)", name, static_cast<double>(bytes) / 1e6,
                       static_cast<double>(limit_) / 1e6));
    return;
  }
  const Timer timer(seconds_);
  const at::Tensor all = gather_blocks(comm, rows, static_cast<int64_t>(ids.size()));
  if (comm.rank() != 0) return;
  try {
    store(key(dataset, ids, embedder, options), ids, all);
    written_.push_back(name);
  } catch (const std::exception& error) {
    note(fmt::format("not kept: {} ({})", name, error.what()));
  }
}

json FeatureCache::report() const {
  return {{"folder", folder_.string()}, {"limit_bytes", limit_}, {"read", read_}, {"written", written_}, {"notes", notes_}};
}

}  // namespace dinoxx::eval
