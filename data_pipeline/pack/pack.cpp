#include "pack.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

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
#include "data_folder_writer.hpp"
#include "data_pipeline/format/content_hash.hpp"
#include "data_pipeline/format/preflight.hpp"
#include "dinoxx/base/error.hpp"
#include "pack_append.hpp"
#include "pack_output.hpp"
#include "pack_pipeline.hpp"
#include "pack_plan.hpp"
#include "pack_resume.hpp"
#include "pack_splits.hpp"

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
  detail::PixelRange values;
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

/// The mask as the format keeps it, an 8-bit gray PNG of the image's size. A gray PNG stays as it is; of other pictures the brightest
/// channel is taken.
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
    const auto [least, most] = std::minmax_element(pixels.data.begin(), pixels.data.end());
    out.values = {*least, *most};
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

std::string bad_as_csv(const std::vector<BadInput>& bad) {
  std::string text = "path,reason\n";
  for (const BadInput& one : bad) text += csv_field(one.key) + ',' + csv_field(one.reason) + '\n';
  return text;
}

/// Writes the list beside the folder that is not made, and throws.
[[noreturn]] void too_many_bad(const std::vector<BadInput>& bad, uint64_t seen, uint64_t total, const PackOptions& options,
                               const fs::path& out) {
  const fs::path list = out.string() + ".bad.csv";
  write_file_atomically(list, bad_as_csv(bad));
  std::string found = fmt::format("{} of the first {} bad", bad.size(), seen);
  for (size_t i = 0; i < std::min(bad.size(), kBadInMessage); ++i)
    found += fmt::format("{} {} ({})", i == 0 ? ":" : ";", bad[i].key, bad[i].reason);
  if (bad.size() > kBadInMessage) found += "; ...";
  fail("input", fmt::format("at most {:g} % of {} images to be bad", 100 * options.max_bad_fraction, total), found,
       fmt::format("Repair or remove them (list: {}), or allow more with --max-bad-fraction", list.string()));
}

std::string class_name(const PackPlan& plan, const PackItem& item) {
  return item.labels.empty() || item.labels[0] < 0 ? std::string() : plan.columns.front().classes[static_cast<size_t>(item.labels[0])];
}

PackPlan make_plan(const PackOptions& options) {
  switch (options.source) {
    case PackOptions::Source::kFolder:
      return detail::plan_folder(options.input, options.split_folders);
    case PackOptions::Source::kList:
      return detail::plan_list(options.input);
    default:
      return detail::plan_toy(options.toy);
  }
}

class Stopped : public Error {
 public:
  using Error::Error;
  ExitCode exit_code() const override { return ExitCode::kStopped; }
};

std::optional<Manifest> existing_manifest(const fs::path& out) {
  std::error_code code;
  if (!fs::exists(out / kManifestName, code)) return std::nullopt;
  return read_data_manifest(out);
}

void fill_from(const Manifest& manifest, PackReport& report) {
  report.samples = manifest.samples();
  report.shards = manifest.shards.size();
  report.split_count = manifest.split_count;
  report.classes = manifest.label_columns.empty() ? 0 : manifest.label_columns.front().classes.size();
  report.fingerprint = manifest.fingerprint;
  report.bytes = 0;
  for (const ShardInfo& shard : manifest.shards) report.bytes += shard.payload_bytes;
}

void refuse_warnings(const PackOptions& options, const std::vector<std::string>& warnings) {
  if (!options.strict || warnings.empty()) return;
  fail("pack", "an input without warnings (--strict)", fmt::format("{}: {}", warnings.size(), fmt::join(warnings, "; ")),
       "Mend the input, or leave --strict out. Nothing was written");
}

/// The report of a folder that needs no work. Opening it proves that it is whole.
PackReport already_packed(const PackOptions& options, const Manifest& manifest) {
  PackReport report;
  report.already = true;
  fill_from(manifest, report);
  report.preflight = preflight(*Dataset::open(options.out), manifest).text;
  report.warnings = manifest.warnings;
  refuse_warnings(options, report.warnings);
  return report;
}

/// path -> reason
std::map<std::string, std::string> read_bad(const fs::path& list) {
  std::map<std::string, std::string> bad;
  if (!fs::exists(list)) return bad;
  const detail::CsvTable table = detail::parse_csv(read_text(list), list.string());
  for (size_t r = 1; r < table.rows.size(); ++r)
    if (table.rows[r].size() > 1) bad[table.rows[r][0]] = table.rows[r][1];
  return bad;
}

/// One pack from plan to folder.
class Packing {
 public:
  Packing(const PackOptions& options, PackPlan plan, std::string identity)
      : options_(options),
        plan_(std::move(plan)),
        identity_(std::move(identity)),
        output_(options.out, options.overwrite || options.append) {
    threads_ = options.threads > 0 ? static_cast<unsigned>(options.threads) : std::max(1u, std::thread::hardware_concurrency());
    limits_.max_pixels = options.max_pixels;
  }

  /// `base`: the data folder's manifest when the plan is added to it.
  PackReport run(const std::optional<Manifest>& base) {
    std::optional<detail::PackState> state;
    if (!base) state = detail::load_state(output_.partial(), identity_);
    detail::remove_leftovers(output_.partial(), state);
    hold_out();
    detail::cut_long_tail(plan_, options_.long_tail);
    if (base) {
      bad_before_ = read_bad(output_.out() / "bad.csv");
      detail::take_over_files(output_.out(), output_.partial());
    }
    Manifest begun = base ? *base : state ? state->manifest : Manifest();
    pack_images(std::move(begun), std::move(state));
    return finish(base.has_value());
  }

 private:
  void heed_stop(uint64_t done, uint64_t of) {
    if (!options_.stop || !options_.stop()) return;
    const std::string found = fmt::format("a request to stop after {} of {} images", done, of);
    if (!goes_on_) fail("pack", "to finish", found, "Nothing was written");
    output_.keep_partial();
    throw Stopped(fmt::format("pack: expected to finish, found {}. The same command goes on from {}", found, output_.partial().string()));
  }

  /// Splits by content need a look at all images; what it found is kept for a pack that goes on.
  void hold_out() {
    if (options_.val_fraction == 0 && options_.test_fraction == 0) return;
    const uint64_t n = plan_.items.size();
    std::vector<detail::ContentId> contents = detail::load_contents(output_.partial(), identity_, n);
    if (contents.empty()) {
      contents.resize(n);
      const auto remember = [&](uint64_t i, Prepared&& sample) {
        heed_stop(i, n);
        contents[i] = sample.record.content_id;
        if (options_.progress) options_.progress({i + 1, n, 0, 0, "looking for copies"});
      };
      const auto look = [&](uint64_t i) {
        Prepared sample = prepare(plan_, i, limits_);
        sample.image = {};
        sample.mask = {};
        return sample;
      };
      detail::ordered_parallel<Prepared>(n, threads_, window(), look, remember);
      detail::save_contents(output_.partial(), identity_, contents);
      goes_on_ = true;
    }
    detail::hold_out(plan_, contents, options_.val_fraction, options_.test_fraction, options_.seed);
  }

  void pack_images(Manifest begun, std::optional<detail::PackState> state) {
    const bool adds = !begun.shards.empty() && !state;
    const std::string time = state ? begun.created_utc : utc_now();
    const ShardHeader header{plan_.columns, plan_.has_groups, plan_.provenance, DINOXX_VERSION, options_.command, time, options_.seed};
    begun.input_identity = identity_;
    folder_.emplace(header, options_.shard_bytes, output_.partial(), std::move(begun));
    const uint64_t total = plan_.items.size(), first = state ? state->done : 0;
    if (state) report_.bad = std::move(state->bad);
    report_.gone_on_at = first;
    goes_on_ = goes_on_ || first > 0;
    uint64_t at = first;
    if (!adds) {
      folder_->flushed = [&](const Manifest& manifest) {
        detail::save_state(output_.partial(), identity_, {at, report_.bad, manifest});
        goes_on_ = true;
      };
    }
    const auto allowed = static_cast<uint64_t>(std::floor(options_.max_bad_fraction * static_cast<double>(total) + 1e-9));
    const std::vector<uint64_t> order = shuffled(total, options_.seed);
    const auto consume = [&](uint64_t i, Prepared&& sample) {
      at = first + i;
      heed_stop(at, total);
      const PackItem& item = plan_.items[order[at]];
      if (!sample.bad.empty()) {
        report_.bad.push_back({item.key, sample.bad});
        if (!bad_before_.contains(item.key)) folder_->leave_out(class_name(plan_, item), sample.bad);
        if (report_.bad.size() > allowed) too_many_bad(report_.bad, at + 1, total, options_, output_.out());
      } else {
        report_.bytes += sample.image.size() + sample.mask.size();
        ++report_.samples;
        folder_->add(sample.record, sample.image, sample.mask, sample.values);
      }
      if (options_.progress) options_.progress({at + 1, total, report_.bad.size(), report_.bytes});
    };
    detail::ordered_parallel<Prepared>(
        total - first, threads_, window(), [&](uint64_t i) { return prepare(plan_, order[first + i], limits_); }, consume);
    if (report_.samples == 0 && first == 0) {
      fail(options_.input.string(), "a good image", fmt::format("{} bad ones", report_.bad.size()), "Nothing was written");
    }
    at = total;
    folder_->finish();
  }

  PackReport finish(bool added) {
    for (const PackItem& item : plan_.items) bad_before_.erase(item.key);  // tried again
    std::vector<BadInput> bad;
    for (const auto& [key, reason] : bad_before_) bad.push_back({key, reason});
    bad.insert(bad.end(), report_.bad.begin(), report_.bad.end());
    write_file_atomically(output_.partial() / "bad.csv", bad_as_csv(bad));
    detail::remove_state(output_.partial());
    const Manifest& manifest = folder_->manifest();
    report_.notes = plan_.notes;
    report_.warnings = plan_.warnings;
    if (!report_.bad.empty()) report_.warnings.push_back(fmt::format("{} bad images were left out, see bad.csv", report_.bad.size()));
    Preflight flight = preflight(*Dataset::open(output_.partial()), manifest);
    report_.preflight = std::move(flight.text);
    report_.warnings.insert(report_.warnings.end(), flight.warnings.begin(), flight.warnings.end());
    refuse_warnings(options_, report_.warnings);
    folder_->write_warnings(report_.warnings);
    output_.commit();
    report_.added = added ? report_.samples : 0;
    fill_from(manifest, report_);
    return std::move(report_);
  }

  uint64_t window() const { return 4 * uint64_t{threads_} + 4; }

  const PackOptions& options_;
  PackPlan plan_;
  std::string identity_;
  detail::OutputFolder output_;
  unsigned threads_ = 1;
  DecodeLimits limits_;
  std::optional<detail::DataFolderWriter> folder_;
  std::map<std::string, std::string> bad_before_;  ///< inputs and reasons of the folder that is added to
  bool goes_on_ = false;                           ///< what is in the partial folder saves the next pack work
  PackReport report_;
};

}  // namespace

PackReport pack(const PackOptions& options) {
  if (!(options.max_bad_fraction >= 0 && options.max_bad_fraction <= 1)) {
    fail_usage("--max-bad-fraction", "a share from 0 to 1", fmt::format("{}", options.max_bad_fraction), "0.01 is one in a hundred");
  }
  if (options.shard_bytes < 4096)
    fail_usage("--shard-bytes", "4096 or more", std::to_string(options.shard_bytes), "The default suits most sets");
  if (options.overwrite && options.append) fail_usage("--overwrite, --append", "one of them", "both", "--append keeps what is there");
  PackPlan plan = make_plan(options);
  std::string identity = detail::input_identity(plan, options);
  std::optional<Manifest> there;
  if (!options.overwrite) there = existing_manifest(options.out);
  if (there && there->input_identity == identity) return already_packed(options, *there);
  uint64_t known = 0;
  if (options.append && there) {
    known = detail::plan_append(plan, options.out, *there);
    if (plan.items.empty()) return already_packed(options, *there);
  }
  detail::check_hold_out(plan, options.val_fraction, options.test_fraction);
  PackReport report = Packing(options, std::move(plan), std::move(identity)).run(options.append ? there : std::nullopt);
  if (known > 0)
    report.notes.push_back(
        fmt::format("{} images of the input are in the data folder already, by their names, and stay as they are", known));
  return report;
}

}  // namespace dinoxx
