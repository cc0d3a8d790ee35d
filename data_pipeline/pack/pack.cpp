#include "pack.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <map>
#include <numeric>
#include <optional>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/rng.hpp"
#include "data_pipeline/format/content_hash.hpp"
#include "data_pipeline/format/manifest.hpp"
#include "data_pipeline/format/shard.hpp"
#include "dinoxx/base/error.hpp"
#include "pack_output.hpp"
#include "pack_pipeline.hpp"
#include "pack_plan.hpp"

namespace dinoxx {
namespace {

using detail::PackItem;
using detail::PackPlan;
namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;  // an image file beyond it is a mistake, and would be held in memory
constexpr size_t kBadInMessage = 5;

/// What a worker makes of one item: either a reason why it is bad, or all that the shard needs.
struct Prepared {
  std::string bad;
  SampleRecord record;
  std::vector<uint8_t> image, mask;
};

void read_file(const std::string& path, std::vector<uint8_t>& bytes) {
  const FileDescriptor file(path);
  const uint64_t size = file.size();
  if (size == 0) fail("file", "an image", "an empty file", "");
  if (size > kMaxFileBytes) fail("file", fmt::format("at most {} bytes", kMaxFileBytes), std::to_string(size), "");
  bytes.resize(size);
  file.read_at(std::as_writable_bytes(std::span<uint8_t>(bytes)), 0);
}

/// The mask as the format keeps it, an 8-bit gray PNG of the image's size. A gray PNG stays as it is; of other pictures the brightest channel is taken.
void normalise_mask(std::vector<uint8_t>& mask, const Image& image, const DecodeLimits& limits) {
  Image decoded;
  decode_image(mask, decoded, limits);
  if (decoded.width != image.width || decoded.height != image.height) {
    fail("mask", fmt::format("{} x {} as its image", image.width, image.height), fmt::format("{} x {}", decoded.width, decoded.height), "");
  }
  const ImageInfo info = inspect_image(mask);
  if (info.codec == Codec::kPng && info.channels == 1 && info.bits == 8 && info.orientation == 1 && !info.palette) return;
  std::vector<uint8_t> gray(decoded.data.size() / 3);
  for (size_t i = 0; i < gray.size(); ++i) gray[i] = std::max({decoded.data[3 * i], decoded.data[3 * i + 1], decoded.data[3 * i + 2]});
  mask = encode_gray_png(gray, decoded.width, decoded.height);
}

Prepared prepare(const PackPlan& plan, size_t i, const DecodeLimits& limits) {
  const PackItem& item = plan.items[i];
  Prepared out;
  try {
    if (plan.draw) {
      plan.draw(i, out.image, out.mask);
    } else {
      read_file(item.path, out.image);
      if (!item.mask_path.empty()) read_file(item.mask_path, out.mask);
    }
    Image pixels;
    decode_image(out.image, pixels, limits);
    out.record.image = inspect_image(out.image);
    out.record.content_id = detail::hash128(pixels.data.data(), pixels.data.size(), static_cast<uint64_t>(pixels.width));
    if (!out.mask.empty()) normalise_mask(out.mask, pixels, limits);
  } catch (const Error& error) {
    out.bad = error.what();
    return out;
  } catch (const std::bad_alloc&) {
    out.bad = "not enough memory to decode it";
    return out;
  }
  out.record.key = item.key;
  out.record.labels = item.labels;
  out.record.split = item.split;
  out.record.group = item.group;
  out.record.weight = item.weight;
  return out;
}

std::string utc_now() {
  // reproducible builds convention: a fixed time makes packs of equal input equal byte for byte
  const char* fixed = std::getenv("SOURCE_DATE_EPOCH");
  const std::time_t now = fixed != nullptr ? static_cast<std::time_t>(std::atoll(fixed)) : std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

/// Fisher-Yates; each draw a function of (seed, step).
std::vector<uint64_t> shuffled(uint64_t n, uint64_t seed) {
  std::vector<uint64_t> order(n);
  std::iota(order.begin(), order.end(), uint64_t{0});
  for (uint64_t i = n; i > 1; --i) std::swap(order[i - 1], order[CounterRng(seed, i, 0, Purpose::kOrder).below(i)]);
  return order;
}

/// Leaves a class, by its number, the fewer training images the later it comes; the first ones in the plan's order stay.
void cut_long_tail(PackPlan& plan, double ratio) {
  if (ratio == 0) return;
  if (plan.draw) fail_usage("--long-tail", "images from files", "a drawn set", "Use --imbalance");
  std::map<int32_t, uint64_t> count;
  for (const PackItem& item : plan.items)
    if (item.split == Split::kTrain && !item.labels.empty() && item.labels[0] >= 0) ++count[item.labels[0]];
  if (!(ratio >= 1) || count.size() < 2) {
    fail_usage("--long-tail", "a ratio of 1 or more and training images of two classes or more", fmt::format("{:g} and {} classes", ratio, count.size()),
               "100 is usual");
  }
  uint64_t most = 0;
  for (const auto& [label, n] : count) most = std::max(most, n);
  std::map<int32_t, uint64_t> left;
  double place = 0;
  for (const auto& [label, n] : count) {
    const double share = std::pow(ratio, -place++ / static_cast<double>(count.size() - 1));
    left[label] = std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(most) * share + 1e-9));
  }
  std::erase_if(plan.items, [&](const PackItem& item) {
    if (item.split != Split::kTrain || item.labels.empty() || item.labels[0] < 0) return false;
    uint64_t& rest = left[item.labels[0]];
    if (rest == 0) return true;
    --rest;
    return false;
  });
}

/// Gives val and test their share of each class (of all, without labels), chosen by the seed.
void hold_out(PackPlan& plan, double val, double test, uint64_t seed) {
  if (val == 0 && test == 0) return;
  if (!(val >= 0 && test >= 0 && val + test < 1)) {
    fail_usage("--val-fraction and --test-fraction", "shares that leave something to train on", fmt::format("{} and {}", val, test), "Try 0.1 and 0.1");
  }
  if (plan.has_splits) fail_usage("--val-fraction, --test-fraction", "input without splits of its own", "splits in the input", "Leave these options out");
  std::map<int32_t, std::vector<uint64_t>> members;
  for (uint64_t i = 0; i < plan.items.size(); ++i) members[plan.items[i].labels.empty() ? -1 : plan.items[i].labels[0]].push_back(i);
  for (auto& [label, ids] : members) {
    std::vector<std::pair<uint64_t, uint64_t>> drawn;
    for (const uint64_t id : ids) drawn.emplace_back(CounterRng(seed, id, 0, Purpose::kSplit).next_u64(), id);
    std::sort(drawn.begin(), drawn.end());
    const auto n_val = static_cast<size_t>(std::lround(val * static_cast<double>(ids.size())));
    const auto n_test = static_cast<size_t>(std::lround(test * static_cast<double>(ids.size())));
    for (size_t i = 0; i < drawn.size() && i < n_val + n_test; ++i) plan.items[drawn[i].second].split = i < n_val ? Split::kVal : Split::kTest;
  }
}

std::string bad_as_csv(const std::vector<BadInput>& bad) {
  std::string text = "path,reason\n";
  for (const BadInput& one : bad) text += csv_field(one.key) + ',' + csv_field(one.reason) + '\n';
  return text;
}

/// Writes the list beside the folder that is not made, and throws.
[[noreturn]] void too_many_bad(const std::vector<BadInput>& bad, uint64_t seen, uint64_t total, const PackOptions& options, const fs::path& out) {
  const fs::path list = out.string() + ".bad.csv";
  write_file_atomically(list, bad_as_csv(bad));
  std::string found = fmt::format("{} of the first {} bad", bad.size(), seen);
  for (size_t i = 0; i < std::min(bad.size(), kBadInMessage); ++i) found += fmt::format("{} {} ({})", i == 0 ? ":" : ";", bad[i].key, bad[i].reason);
  if (bad.size() > kBadInMessage) found += "; ...";
  fail("input", fmt::format("at most {:g} % of {} images to be bad", 100 * options.max_bad_fraction, total), found,
       fmt::format("Repair or remove them (list: {}), or allow more with --max-bad-fraction", list.string()));
}

/// Shards under the partial folder, and what the manifest will say of them.
class DataFolderWriter {
 public:
  DataFolderWriter(const PackOptions& options, const PackPlan& plan, fs::path folder) : options_(options), folder_(std::move(folder)) {
    manifest_.packer_version = DINOXX_VERSION;
    manifest_.packer_command = options.command;
    manifest_.created_utc = utc_now();
    manifest_.provenance = plan.provenance;
    manifest_.label_columns = plan.columns;
    manifest_.has_groups = plan.has_groups;
    header_ = {plan.columns, plan.has_groups, plan.provenance, manifest_.packer_version, manifest_.packer_command, manifest_.created_utc, options.seed};
    writer_.emplace(header_);
    if (!plan.columns.empty()) {
      for (auto& count : manifest_.class_count) count.resize(plan.columns.front().classes.size());
    }
  }
  void add(const Prepared& sample) {
    const uint64_t bytes = sample.image.size() + sample.mask.size();
    if (writer_->size() > 0 && writer_->payload_bytes() + bytes > options_.shard_bytes) flush();
    writer_->add(sample.record, sample.image, sample.mask);
    const auto split = static_cast<size_t>(sample.record.split);
    ++manifest_.split_count[split];
    const int32_t label = sample.record.labels.empty() ? -1 : sample.record.labels[0];
    if (label >= 0) ++manifest_.class_count[split][static_cast<size_t>(label)];
    else ++manifest_.unlabelled[split];
    if (!sample.mask.empty()) manifest_.has_masks = true;
  }
  void flush() {
    if (writer_->size() == 0) return;
    const uint64_t index = manifest_.shards.size();
    manifest_.shards.push_back(writer_->finish(folder_ / fmt::format("shard-{:05}.h5", index), index));
  }
  /// The manifest, last.
  const Manifest& finish(const std::vector<BadInput>& bad, std::vector<std::string> warnings) {
    flush();
    manifest_.bad = bad.size();
    manifest_.warnings = std::move(warnings);
    manifest_.fingerprint = fingerprint_of(manifest_.shards);
    write_file_atomically(folder_ / "bad.csv", bad_as_csv(bad));
    write_file_atomically(folder_ / kManifestName, manifest_.to_json());
    return manifest_;
  }
  const Manifest& manifest() const { return manifest_; }

 private:
  const PackOptions& options_;
  fs::path folder_;
  Manifest manifest_;
  ShardHeader header_;
  std::optional<ShardWriter> writer_;
};

/// What a person should know before training on it.
void add_warnings(const Manifest& manifest, std::vector<std::string>& warnings) {
  const auto train = static_cast<size_t>(Split::kTrain);
  if (manifest.split_count[train] == 0) warnings.push_back("no image is in train: the set can be evaluated but not trained on");
  if (manifest.label_columns.empty()) {
    warnings.push_back("no labels: the set can be trained on, but not scored by labels");
    return;
  }
  const std::vector<std::string>& classes = manifest.label_columns.front().classes;
  if (classes.size() == 1) warnings.push_back(fmt::format("only one class, \"{}\": scores by labels will mean nothing", classes[0]));
  std::vector<std::string> untrained;
  for (size_t c = 0; c < classes.size(); ++c) {
    if (manifest.class_count[train][c] == 0) untrained.push_back(classes[c]);
  }
  if (!untrained.empty() && manifest.split_count[train] > 0) {
    const size_t n = untrained.size();
    if (n > kBadInMessage) untrained.resize(kBadInMessage);
    warnings.push_back(fmt::format("{} classes without an image in train: {}{}", n, fmt::join(untrained, ", "), n > untrained.size() ? ", ..." : ""));
  }
}

PackPlan make_plan(const PackOptions& options) {
  switch (options.source) {
    case PackOptions::Source::kFolder: return detail::plan_folder(options.input);
    case PackOptions::Source::kList: return detail::plan_list(options.input);
    default: return detail::plan_toy(options.toy);
  }
}

}  // namespace

PackReport pack(const PackOptions& options) {
  if (!(options.max_bad_fraction >= 0 && options.max_bad_fraction <= 1)) {
    fail_usage("--max-bad-fraction", "a share from 0 to 1", fmt::format("{}", options.max_bad_fraction), "0.01 is one in a hundred");
  }
  if (options.shard_bytes < 4096) fail_usage("--shard-bytes", "4096 or more", std::to_string(options.shard_bytes), "The default suits most sets");
  PackPlan plan = make_plan(options);
  hold_out(plan, options.val_fraction, options.test_fraction, options.seed);
  cut_long_tail(plan, options.long_tail);
  detail::OutputFolder output(options.out, options.overwrite);
  DataFolderWriter folder(options, plan, output.partial());

  const uint64_t total = plan.items.size();
  const auto allowed = static_cast<uint64_t>(std::floor(options.max_bad_fraction * static_cast<double>(total) + 1e-9));
  const std::vector<uint64_t> order = shuffled(total, options.seed);
  const unsigned threads = options.threads > 0 ? static_cast<unsigned>(options.threads) : std::max(1u, std::thread::hardware_concurrency());
  DecodeLimits limits;
  limits.max_pixels = options.max_pixels;

  PackReport report;
  report.warnings = plan.warnings;
  const auto consume = [&](uint64_t i, Prepared&& sample) {
    if (options.stop && options.stop()) fail("pack", "to finish", fmt::format("a request to stop after {} of {} images", i, total), "Nothing was written");
    if (!sample.bad.empty()) {
      report.bad.push_back({plan.items[order[i]].key, sample.bad});
      if (report.bad.size() > allowed) too_many_bad(report.bad, i + 1, total, options, output.out());
    } else {
      report.bytes += sample.image.size() + sample.mask.size();
      ++report.samples;
      folder.add(sample);
    }
    if (options.progress) options.progress({i + 1, total, report.bad.size(), report.bytes});
  };
  detail::ordered_parallel<Prepared>(
      total, threads, 4 * uint64_t{threads} + 4, [&](uint64_t i) { return prepare(plan, order[i], limits); }, consume);

  if (report.samples == 0) fail(options.input.string(), "a good image", fmt::format("{} bad ones", report.bad.size()), "Nothing was written");
  if (!report.bad.empty()) report.warnings.push_back(fmt::format("{} bad images were left out, see bad.csv", report.bad.size()));
  add_warnings(folder.manifest(), report.warnings);
  const Manifest& manifest = folder.finish(report.bad, report.warnings);
  output.commit();
  report.shards = manifest.shards.size();
  report.split_count = manifest.split_count;
  report.classes = manifest.label_columns.empty() ? 0 : manifest.label_columns.front().classes.size();
  report.fingerprint = manifest.fingerprint;
  return report;
}

}  // namespace dinoxx
