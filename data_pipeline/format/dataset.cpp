#include "dinoxx/data_pipeline/dataset.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>

#include "dinoxx/base/error.hpp"
#include "manifest.hpp"
#include "shard.hpp"

namespace dinoxx {

std::string_view split_name(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kVal:
      return "val";
    default:
      return "test";
  }
}

bool split_from_name(std::string_view name, Split& split) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  struct Spelling {
    std::string_view name;
    Split split;
  };
  static constexpr std::array<Spelling, 11> kSpellings = {{{"train", Split::kTrain},
                                                           {"training", Split::kTrain},
                                                           {"trn", Split::kTrain},
                                                           {"val", Split::kVal},
                                                           {"valid", Split::kVal},
                                                           {"validation", Split::kVal},
                                                           {"validate", Split::kVal},
                                                           {"dev", Split::kVal},
                                                           {"test", Split::kTest},
                                                           {"testing", Split::kTest},
                                                           {"tst", Split::kTest}}};
  const auto found = std::find_if(kSpellings.begin(), kSpellings.end(), [&](const Spelling& spelling) { return spelling.name == lower; });
  if (found == kSpellings.end()) return false;
  split = found->split;
  return true;
}

const std::vector<LabelColumn>& Dataset::label_columns() const {
  static const std::vector<LabelColumn> none;
  return none;
}

namespace {

constexpr const char* kAdvice = "Copy the data folder again from its source, or pack again";

/// Each shard keeps a descriptor: lift the soft limit of open files (often 1024) as far as it may be.
void allow_open_files(size_t shards) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = shards + 256;  // libraries and workers need theirs
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);  // when it is refused, opening a shard says "Too many open files"
}

class ShardedDataset final : public Dataset {
 public:
  explicit ShardedDataset(const std::filesystem::path& path) : folder_(data_folder(path)), manifest_(read_data_manifest(path)) {
    allow_open_files(manifest_.shards.size());
    uint64_t n = 0;
    for (const ShardInfo& info : manifest_.shards) {
      const std::filesystem::path file = folder_ / info.file;
      const ShardReader& shard = shards_.emplace_back(file);
      if (shard.uuid() != info.uuid || shard.size() != info.n) {
        fail(file.string(), fmt::format("shard {} with {} samples, as the manifest says", info.uuid, info.n),
             fmt::format("shard {} with {}", shard.uuid(), shard.size()), "The folder mixes two data sets. " + std::string(kAdvice));
      }
      if (shard.file_bytes() != info.file_bytes) {
        fail(file.string(), fmt::format("{} bytes", info.file_bytes), std::to_string(shard.file_bytes()), kAdvice);
      }
      check_labels(shard);
      first_.push_back(n);
      n += info.n;
    }
    first_.push_back(n);
    for (uint64_t id = 0; id < n; ++id) split_seen_[static_cast<size_t>(meta(id).split)] = true;
  }

  uint64_t size() const override { return first_.back(); }
  const std::string& fingerprint() const override { return manifest_.fingerprint; }
  const std::vector<std::string>& class_names() const override {
    static const std::vector<std::string> none;
    return manifest_.label_columns.empty() ? none : manifest_.label_columns.front().classes;
  }
  const SampleMeta& meta(uint64_t id) const override {
    const auto [shard, row] = find(id);
    return shards_[shard].meta(row);
  }
  std::string key(uint64_t id) const override {
    const auto [shard, row] = find(id);
    return shards_[shard].key(row);
  }
  void read(uint64_t id, std::vector<uint8_t>& bytes) const override {
    const auto [shard, row] = find(id);
    shards_[shard].read(row, bytes);
  }
  void read_mask(uint64_t id, std::vector<uint8_t>& bytes) const override {
    const auto [shard, row] = find(id);
    shards_[shard].read_mask(row, bytes);
  }
  bool has_split(Split split) const override { return split_seen_[static_cast<size_t>(split)]; }
  std::vector<uint64_t> ids(Split split) const override {
    std::vector<uint64_t> out;
    for (uint64_t id = 0; id < size(); ++id) {
      if (meta(id).split == split) out.push_back(id);
    }
    return out;
  }
  const std::vector<LabelColumn>& label_columns() const override { return manifest_.label_columns; }
  int32_t label(uint64_t id, size_t column) const override {
    const auto [shard, row] = find(id);
    return shards_[shard].label(row, column);
  }
  bool has_masks() const override { return manifest_.has_masks; }
  bool has_groups() const override { return manifest_.has_groups; }
  int used_bits() const override { return manifest_.used_bits; }
  std::vector<std::string> notes() const override {
    uint64_t unclear = 0;
    for (const ShardReader& shard : shards_) unclear += shard.unclear_groups();
    if (unclear == 0) return {};
    return {
        fmt::format("{} images have group 0 in a data folder of format version 1, which does not say whether that is a group: they count "
                    "as images without "
                    "one. Pack again to make it known",
                    unclear)};
  }
  std::array<uint64_t, 2> content_id(uint64_t id) const override {
    const auto [shard, row] = find(id);
    return shards_[shard].content_id(row);
  }

 private:
  std::pair<size_t, uint64_t> find(uint64_t id) const {
    if (id >= size()) fail(folder_.string(), fmt::format("a sample id below {}", size()), std::to_string(id), "");
    if (shards_.size() == 1) return {0, id};
    const auto shard = static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), id) - first_.begin()) - 1;
    return {shard, id - first_[shard]};
  }

  /// What was added to a folder may have brought new classes, which older shards do not name.
  static bool begins_with(const std::vector<std::string>& classes, const std::vector<std::string>& of_shard) {
    return of_shard.size() <= classes.size() && std::equal(of_shard.begin(), of_shard.end(), classes.begin());
  }

  /// The manifest names the classes for people; the shards are what was checked.
  void check_labels(const ShardReader& shard) const {
    const nlohmann::json columns = nlohmann::json::parse(shard.label_columns_json(), nullptr, false);
    bool same = columns.is_array() && columns.size() == manifest_.label_columns.size();
    for (size_t c = 0; same && c < columns.size(); ++c) {
      same = columns[c].is_object() && columns[c].value("name", "") == manifest_.label_columns[c].name &&
             columns[c].value("list", "") == manifest_.label_columns[c].list &&
             begins_with(manifest_.label_columns[c].classes, columns[c].value("classes", std::vector<std::string>()));
    }
    if (!same)
      fail(shard.path(), "the classes that the manifest names", "others",
           "The manifest was changed by hand, or the folder mixes two data sets");
    for (size_t c = 0; c < manifest_.label_columns.size(); ++c) {
      const auto classes = static_cast<int64_t>(manifest_.label_columns[c].classes.size());
      for (uint64_t row = 0; row < shard.size(); ++row) {
        if (shard.label(row, c) < -1 || shard.label(row, c) >= classes) {
          fail(shard.path(), fmt::format("labels from -1 to {}", classes - 1), fmt::format("{} in row {}", shard.label(row, c), row),
               kAdvice);
        }
      }
    }
  }

  std::filesystem::path folder_;
  Manifest manifest_;
  std::vector<ShardReader> shards_;
  std::vector<uint64_t> first_;  ///< id of each shard's first sample, and the total
  std::array<bool, 3> split_seen_{};
};

}  // namespace

std::shared_ptr<const Dataset> Dataset::open(const std::filesystem::path& path) {
  return std::make_shared<ShardedDataset>(path);
}

}  // namespace dinoxx
