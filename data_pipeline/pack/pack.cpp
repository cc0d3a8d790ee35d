#include "pack.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
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
#include "data_pipeline/format/preflight.hpp"
#include "dinoxx/base/error.hpp"
#include "left_out.hpp"
#include "pack_append.hpp"
#include "pack_output.hpp"
#include "pack_pipeline.hpp"
#include "pack_plan.hpp"
#include "pack_prepare.hpp"
#include "pack_resume.hpp"
#include "pack_splits.hpp"

namespace dinoxx {
namespace {

using detail::PackItem;
using detail::PackPlan;
using detail::Prepared;
namespace fs = std::filesystem;

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

std::string class_name(const PackPlan& plan, const PackItem& item) {
  if (!plan.columns.empty() && !plan.columns.front().list.empty()) return "";
  return item.labels.empty() || item.labels[0] < 0 ? std::string() : plan.columns.front().classes[static_cast<size_t>(item.labels[0])];
}

PackPlan plan_of(const PackOptions& options) {
  switch (options.source) {
    case PackOptions::Source::kFolder:
      return detail::plan_folder(options.input, options.split_folders);
    case PackOptions::Source::kList:
      return detail::plan_list(options.input, options.label_separator);
    default:
      return detail::plan_toy(options.toy);
  }
}

PackPlan make_plan(const PackOptions& options) {
  PackPlan plan = plan_of(options);
  detail::choose_strata(plan);
  return plan;
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
  if (report.classes > 0 && !manifest.label_columns.front().list.empty())
    report.labels_of_lists = static_cast<uint64_t>(
        std::ranges::count_if(manifest.label_columns, [](const LabelColumn& column) { return !column.list.empty(); }));
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

/// By path.
std::map<std::string, BadInput> read_bad(const fs::path& list) {
  std::map<std::string, BadInput> bad;
  if (!fs::exists(list)) return bad;
  const CsvTable table = parse_csv(read_text(list), list.string());
  for (size_t r = 1; r < table.rows.size(); ++r) {
    const std::vector<std::string>& row = table.rows[r];
    if (row.size() > 1) bad[row[0]] = {row[0], row[1], row.size() > 2 ? row[2] : "bad"};  // older lists have no kinds
  }
  return bad;
}

/// One pack from plan to folder.
class Packing {
 public:
  /// `base`: the data folder's manifest when the plan is added to it.
  Packing(const PackOptions& options, PackPlan plan, std::string identity, const std::optional<Manifest>& base)
      : options_(options),
        plan_(std::move(plan)),
        identity_(std::move(identity)),
        progress_of_(identity_ + (base ? " added to " + base->fingerprint : "")),
        base_(base),
        output_(options.out, options.overwrite || options.append) {
    threads_ = options.threads > 0 ? static_cast<unsigned>(options.threads) : std::max(1u, std::thread::hardware_concurrency());
    limits_.max_pixels = options.max_pixels;
    limits_.tolerance = options.tolerance;
  }

  PackReport run() {
    std::optional<detail::PackState> state = detail::load_state(output_.partial(), progress_of_);
    detail::remove_leftovers(output_.partial(), state);
    if (!state) output_.check_space(detail::estimated_bytes(plan_));
    limits_.used_bits = options_.used_bits > 0 ? options_.used_bits : used_bits();
    hold_out();
    detail::cut_long_tail(plan_, options_.long_tail);
    if (options_.long_tail != 0) contents_.clear();  // of the images before
    if (options_.strict) {
      if (state) output_.keep_partial();  // it serves a pack that is not strict
      refuse_warnings(options_, known_warnings());
    }
    if (base_) {
      bad_before_ = read_bad(output_.out() / "bad.csv");
      faulty_ = detail::Faulty::read(output_.out() / "faults.csv");
      detail::take_over_files(output_.out(), output_.partial());
    }
    Manifest begun = state ? state->manifest : base_ ? *base_ : Manifest();
    pack_images(std::move(begun), std::move(state));
    return finish();
  }

 private:
  void heed_stop(uint64_t done, uint64_t of) {
    if (!options_.stop || !options_.stop()) return;
    const std::string found = fmt::format("a request to stop after {} of {} images", done, of);
    if (!goes_on_) fail("pack", "to finish", found, "Nothing was written");
    output_.keep_partial();
    throw Stopped(fmt::format("pack: expected to finish, found {}. The same command goes on from {}", found, output_.partial().string()));
  }

  /// Bits of the largest value of all 16-bit images; 16 without any.
  int used_bits() {
    if (plan_.draw) return 16;
    const uint64_t n = plan_.items.size();
    uint16_t most = 0;
    const auto compare = [&](uint64_t i, uint16_t peak) {
      heed_stop(i, n);
      most = std::max(most, peak);
      if (options_.progress) options_.progress({i + 1, n, 0, 0, "looking for used bits"});
    };
    detail::ordered_parallel<uint16_t>(
        n, threads_, window(), [&](uint64_t i) { return detail::peak_of(plan_.items[i], limits_); }, compare);
    return most == 0 ? 16 : std::max(8, static_cast<int>(std::bit_width(most)));
  }

  /// Splits by content need a look at all images; what it found is kept for a pack that goes on.
  void hold_out() {
    if (options_.val_fraction == 0 && options_.test_fraction == 0) return;
    const uint64_t n = plan_.items.size();
    std::vector<detail::ContentId>& contents = contents_;
    contents = detail::load_contents(output_.partial(), progress_of_, n);
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
      detail::save_contents(output_.partial(), progress_of_, contents);
      goes_on_ = true;
    }
    detail::hold_out(plan_, contents, options_.val_fraction, options_.test_fraction, options_.seed);
  }

  /// What --strict complains of and no image needs to be packed for.
  std::vector<std::string> known_warnings() {
    std::vector<std::string> warnings = plan_.warnings;
    std::shared_ptr<const Dataset> there;
    if (base_) there = Dataset::open(output_.out());
    const uint64_t before = there ? there->size() : 0;
    Manifest planned = base_ ? *base_ : Manifest();
    planned.label_columns = plan_.columns;
    if (!plan_.columns.empty())
      for (auto& count : planned.class_count) count.resize(plan_.columns.front().classes.size());
    for (const PackItem& item : plan_.items) {
      const auto split = static_cast<size_t>(item.split);
      ++planned.split_count[split];
      const int32_t label = item.labels.empty() ? -1 : item.labels[0];
      ++(label >= 0 ? planned.class_count[split][static_cast<size_t>(label)] : planned.unlabelled[split]);
    }
    const auto item = [&](uint64_t id) -> const PackItem& { return plan_.items[id - before]; };
    const auto meta = [&](uint64_t id) {
      if (id < before) return there->meta(id);
      return SampleMeta{item(id).labels.empty() ? -1 : item(id).labels[0], item(id).split, item(id).group};
    };
    const auto content = [&](uint64_t id) {
      if (id < before) return there->content_id(id);
      return contents_.empty() ? detail::ContentId{} : contents_[id - before];
    };
    const ImagesToExamine images{before + plan_.items.size(),
                                 plan_.has_groups,
                                 meta,
                                 [&](uint64_t id) { return id < before ? there->key(id) : item(id).key; },
                                 content,
                                 [&](uint64_t id, size_t c) { return id < before ? there->label(id, c) : item(id).labels[c]; }};
    for (std::string& warning : warnings_of_plan(images, planned)) warnings.push_back(std::move(warning));
    return warnings;
  }

  void pack_images(Manifest begun, std::optional<detail::PackState> state) {
    const std::string time = state ? begun.created_utc : utc_now();
    const ShardHeader header{plan_.columns, plan_.has_groups, plan_.provenance, DINOXX_VERSION, options_.command, time, options_.seed};
    begun.input_identity = identity_;
    begun.used_bits = std::min(begun.used_bits, limits_.used_bits);
    folder_.emplace(header, options_.shard_bytes, output_.partial(), std::move(begun));
    const uint64_t total = plan_.items.size(), first = state ? state->done : 0;
    if (state) {
      report_.bad = std::move(state->bad);
      faulty_ = std::move(state->faulty);
    }
    report_.gone_on_at = first;
    goes_on_ = goes_on_ || first > 0;
    uint64_t at = first;
    folder_->flushed = [&](const Manifest& manifest) {
      detail::save_state(output_.partial(), progress_of_, {at, report_.bad, faulty_, manifest});
      goes_on_ = true;
    };
    const auto allowed = static_cast<uint64_t>(std::floor(options_.max_bad_fraction * static_cast<double>(total) + 1e-9));
    const std::vector<uint64_t> order = shuffled(total, options_.seed);
    const auto consume = [&](uint64_t i, Prepared&& sample) {
      at = first + i;
      heed_stop(at, total);
      const PackItem& item = plan_.items[order[at]];
      if (!sample.bad.empty()) {
        report_.bad.push_back({item.key, sample.bad, sample.kind});
        if (!bad_before_.contains(item.key)) folder_->leave_out(class_name(plan_, item), sample.kind);
      } else if (report_.bad.size() <= allowed) {  // else no folder is made, but the list of bad images is to be complete
        faulty_.add(item.key, sample.notes);
        report_.bytes += sample.image.size() + sample.mask.size();
        ++report_.samples;
        folder_->add(sample.record, sample.image, sample.mask, sample.values);
      }
      if (options_.progress) options_.progress({at + 1, total, report_.bad.size(), report_.bytes});
    };
    detail::ordered_parallel<Prepared>(
        total - first, threads_, window(), [&](uint64_t i) { return prepare(plan_, order[first + i], limits_); }, consume);
    if (report_.bad.size() > allowed) detail::too_many_bad(report_.bad, total, options_.max_bad_fraction, output_.out());
    if (report_.samples == 0 && first == 0) detail::none_good(report_.bad, options_.input.string(), output_.out());
    at = total;
    folder_->finish();
  }

  PackReport finish() {
    for (const PackItem& item : plan_.items) bad_before_.erase(item.key);  // tried again
    std::vector<BadInput> bad;
    for (const auto& [key, one] : bad_before_) bad.push_back(one);
    bad.insert(bad.end(), report_.bad.begin(), report_.bad.end());
    write_file_atomically(output_.partial() / "bad.csv", detail::bad_as_csv(bad));
    if (!faulty_.empty()) write_file_atomically(output_.partial() / "faults.csv", faulty_.as_csv());
    detail::remove_state(output_.partial());
    const Manifest& manifest = folder_->manifest();
    report_.notes = plan_.notes;
    report_.warnings = plan_.warnings;
    if (!report_.bad.empty()) {
      report_.warnings.push_back(
          fmt::format("{} bad images were left out, see bad.csv: {}", report_.bad.size(), detail::kinds_of(report_.bad)));
    }
    faulty_.add_warnings(report_.warnings);
    Preflight flight = preflight(*Dataset::open(output_.partial()), manifest);
    report_.preflight = std::move(flight.text);
    report_.warnings.insert(report_.warnings.end(), flight.warnings.begin(), flight.warnings.end());
    refuse_warnings(options_, report_.warnings);
    folder_->write_warnings(report_.warnings);
    output_.commit();
    fill_from(manifest, report_);
    report_.added = base_ ? report_.samples - base_->samples() : 0;
    return std::move(report_);
  }

  uint64_t window() const { return 4 * uint64_t{threads_} + 4; }

  const PackOptions& options_;
  PackPlan plan_;
  std::string identity_, progress_of_;  ///< of the input, and of what a partial folder has of it
  const std::optional<Manifest> base_;
  detail::OutputFolder output_;
  unsigned threads_ = 1;
  DecodeLimits limits_;
  std::optional<detail::DataFolderWriter> folder_;
  std::vector<detail::ContentId> contents_;     ///< of the plan's images, where splits are made by them
  std::map<std::string, BadInput> bad_before_;  ///< of the folder that is added to
  detail::Faulty faulty_;
  bool goes_on_ = false;  ///< what is in the partial folder saves the next pack work
  PackReport report_;
};

}  // namespace

PackReport pack(const PackOptions& options) {
  if (!(options.max_bad_fraction >= 0 && options.max_bad_fraction <= 1)) {
    fail_usage("--max-bad-fraction", "a share from 0 to 1", fmt::format("{}", options.max_bad_fraction), "0.01 is one in a hundred");
  }
  if (options.shard_bytes < 4096)
    fail_usage("--shard-bytes", "4096 or more", std::to_string(options.shard_bytes), "The default suits most sets");
  if (options.used_bits != 0 && (options.used_bits < 8 || options.used_bits > 16)) {
    fail_usage("--used-bits", "8 to 16, or auto", std::to_string(options.used_bits), "A camera of 12 bits needs 12");
  }
  if (options.used_bits == 0 && options.append) {
    fail_usage("--used-bits auto", "no --append", "both", "Give the bits by which the data folder was packed");
  }
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
  PackReport report = Packing(options, std::move(plan), std::move(identity), options.append ? there : std::nullopt).run();
  if (known > 0)
    report.notes.push_back(
        fmt::format("{} images of the input are in the data folder already, by their names, and stay as they are", known));
  return report;
}

}  // namespace dinoxx
