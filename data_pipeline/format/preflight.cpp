#include "preflight.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <set>
#include <unordered_map>

#include "base/text/plain_name.hpp"
#include "data_pipeline/labels/dataset_view.hpp"

namespace dinoxx {
namespace {

constexpr size_t kMaxClasses = 40;  // shown; a thousand lines help nobody
constexpr size_t kExamples = 5;
constexpr std::array<Split, 3> kSplits = {Split::kTrain, Split::kVal, Split::kTest};

/// "a, b, c, ..."
std::string some_of(std::vector<std::string> names) {
  const bool more = names.size() > kExamples;
  if (more) names.resize(kExamples);
  return fmt::format("{}{}", fmt::join(names, ", "), more ? ", ..." : "");
}

struct LabelCount {
  std::string name;
  size_t column = 0;
  std::array<uint64_t, 3> images{};  ///< per Split
};

class Examination {
 public:
  Examination(const ImagesToExamine& set, const Manifest& manifest) : set_(set), manifest_(manifest) {}

  Preflight run() {
    splits_by_class();
    groups();
    copies();
    values();
    left_out();
    names();
    return std::move(result_);
  }

  /// What no pixel and no reading changes for the better.
  std::vector<std::string> planned() {
    splits_by_class();
    groups();
    copies();
    names();
    return std::move(result_.warnings);
  }

 private:
  void row(const char* name, const std::string& value) { result_.text += fmt::format("{:<12} {}\n", name, value); }
  void warn(std::string text) { result_.warnings.push_back(std::move(text)); }
  uint64_t count(Split split) const { return manifest_.split_count[static_cast<size_t>(split)]; }
  uint64_t count(Split split, size_t label) const { return manifest_.class_count[static_cast<size_t>(split)][label]; }

  void splits_by_class() {
    row("splits", fmt::format("train {}, val {}, test {}", count(Split::kTrain), count(Split::kVal), count(Split::kTest)));
    if (count(Split::kTrain) == 0) warn("no image is in train: the set can be evaluated but not trained on");
    if (manifest_.label_columns.empty()) {
      row("classes", "none: no labels");
      warn("no labels: the set can be trained on, but not scored by labels");
      return;
    }
    const LabelColumn& column = manifest_.label_columns.front();
    if (!column.list.empty()) {
      splits_by_label();
      return;
    }
    const std::vector<std::string>& classes = column.classes;
    row("classes", fmt::format("{}; images per class:", classes.size()));
    size_t width = column.name.size();
    for (size_t c = 0; c < std::min(classes.size(), kMaxClasses); ++c) width = std::clamp(classes[c].size(), width, size_t{60});
    const auto line = [&](const std::string& name, const auto& train, const auto& val, const auto& test) {
      result_.text += fmt::format("  {:<{}} {:>9} {:>9} {:>9}\n", name, width, train, val, test);
    };
    line(column.name, "train", "val", "test");
    for (size_t c = 0; c < std::min(classes.size(), kMaxClasses); ++c)
      line(classes[c], count(Split::kTrain, c), count(Split::kVal, c), count(Split::kTest, c));
    if (classes.size() > kMaxClasses)
      result_.text += fmt::format("  ... and {} more, in {}\n", classes.size() - kMaxClasses, kManifestName);
    const auto& unlabelled = manifest_.unlabelled;
    if (unlabelled[0] + unlabelled[1] + unlabelled[2] > 0) line("(no label)", unlabelled[0], unlabelled[1], unlabelled[2]);
    if (classes.size() == 1) warn(fmt::format("only one class, \"{}\": scores by labels will mean nothing", classes[0]));
    for (const Split split : kSplits) {
      if (count(split) == unlabelled[static_cast<size_t>(split)]) continue;
      std::vector<std::string> lacking;
      for (size_t c = 0; c < classes.size(); ++c)
        if (count(split, c) == 0 && (split == Split::kTrain || count(Split::kTrain, c) > 0)) lacking.push_back(classes[c]);
      if (!lacking.empty()) warn(fmt::format("{} classes without an image in {}: {}", lacking.size(), split_name(split), some_of(lacking)));
    }
  }

  /// Lists of labels: how many images have each.
  void splits_by_label() {
    std::vector<LabelCount> labels;
    std::array<uint64_t, 3> unlabelled{}, without{};
    for (size_t c = 0; c < manifest_.label_columns.size(); ++c)
      if (!manifest_.label_columns[c].list.empty()) labels.push_back({label_name(manifest_.label_columns[c].name), c, {}});
    for (uint64_t id = 0; id < set_.count; ++id) {
      const auto split = static_cast<size_t>(set_.meta(id).split);
      bool known = false, any = false;
      for (LabelCount& label : labels) {
        const int32_t has = set_.label(id, label.column);
        known = known || has >= 0;
        any = any || has == 1;
        label.images[split] += has == 1 ? 1 : 0;
      }
      unlabelled[split] += known ? 0 : 1;
      without[split] += known && !any ? 1 : 0;
    }
    row("labels", fmt::format("{}, several an image; images that have each:", labels.size()));
    size_t width = 12;
    for (size_t l = 0; l < std::min(labels.size(), kMaxClasses); ++l) width = std::clamp(labels[l].name.size(), width, size_t{60});
    const auto line = [&](const std::string& name, const std::array<uint64_t, 3>& images) {
      result_.text += fmt::format("  {:<{}} {:>9} {:>9} {:>9}\n", name, width, images[0], images[1], images[2]);
    };
    result_.text += fmt::format("  {:<{}} {:>9} {:>9} {:>9}\n", "label", width, "train", "val", "test");
    for (size_t l = 0; l < std::min(labels.size(), kMaxClasses); ++l) line(labels[l].name, labels[l].images);
    if (labels.size() > kMaxClasses) result_.text += fmt::format("  ... and {} more\n", labels.size() - kMaxClasses);
    line("(none)", without);
    if (unlabelled[0] + unlabelled[1] + unlabelled[2] > 0) line("(no label)", unlabelled);
    for (const Split split : kSplits) {
      const auto s = static_cast<size_t>(split);
      if (count(split) == unlabelled[s]) continue;
      std::vector<std::string> lacking;
      for (const LabelCount& label : labels)
        if (label.images[s] == 0 && (split == Split::kTrain || label.images[0] > 0)) lacking.push_back(label.name);
      if (!lacking.empty()) warn(fmt::format("{} labels that no image in {} has: {}", lacking.size(), split_name(split), some_of(lacking)));
    }
  }

  /// Whether two images have the same labels, as far as they are what the set is about.
  bool same_labels(uint64_t a, uint64_t b) const {
    for (size_t c = 0; c < manifest_.label_columns.size(); ++c) {
      if (c > 0 && manifest_.label_columns[c].list.empty()) continue;
      if (set_.label(a, c) != set_.label(b, c)) return false;
    }
    return true;
  }

  void groups() {
    if (!set_.has_groups) {
      row("groups", "no");
      return;
    }
    std::unordered_map<uint64_t, std::array<uint64_t, 3>> first;  // of each group: id + 1 of its first image in each split
    uint64_t without = 0;
    for (uint64_t id = 0; id < set_.count; ++id) {
      const SampleMeta meta = set_.meta(id);
      if (!meta.group) {
        ++without;
        continue;
      }
      uint64_t& there = first[*meta.group][static_cast<size_t>(meta.split)];
      if (there == 0) there = id + 1;
    }
    uint64_t several = 0;
    std::string example;
    for (const auto& [group, of] : first) {
      std::vector<std::string> sides;
      for (const Split split : kSplits)
        if (const uint64_t id = of[static_cast<size_t>(split)]; id > 0)
          sides.push_back(fmt::format("{} ({})", set_.key(id - 1), split_name(split)));
      if (sides.size() < 2) continue;
      ++several;
      std::string text = fmt::format("{}", fmt::join(sides, " and "));
      if (example.empty() || text < example) example = std::move(text);
    }
    row("groups", fmt::format("{}, {} of them in several splits{}", first.size(), several,
                              without > 0 ? fmt::format("; and {} images without one", without) : ""));
    if (several > 0)
      warn(fmt::format("{} of {} groups are in several splits, as {}: scores will be too good", several, first.size(), example));
  }

  void copies() {
    struct First {
      uint64_t id;
      uint8_t splits;
    };
    std::map<std::array<uint64_t, 2>, First> seen;
    uint64_t within = 0, across = 0, other_label = 0;
    std::string across_example, label_example;
    for (uint64_t id = 0; id < set_.count; ++id) {
      const std::array<uint64_t, 2> content = set_.content(id);
      if (content == std::array<uint64_t, 2>{}) continue;
      const auto bit = static_cast<uint8_t>(1u << static_cast<unsigned>(set_.meta(id).split));
      const auto [at, fresh] = seen.try_emplace(content, First{id, bit});
      if (fresh) continue;
      First& first = at->second;
      const auto pair = [&] { return fmt::format("{} and {}", set_.key(first.id), set_.key(id)); };
      if ((first.splits & bit) != 0) {
        ++within;
      } else if (across++ == 0) {
        across_example = pair();
      }
      first.splits |= bit;
      if (!same_labels(id, first.id) && other_label++ == 0) label_example = pair();
    }
    row("copies", fmt::format("{} within a split, {} across splits, {} with another label (same pixels)", within, across, other_label));
    if (across > 0)
      warn(fmt::format("{} images are in another split too, with the same pixels, as {}: scores will be too good", across, across_example));
    if (other_label > 0)
      warn(fmt::format("{} images have the same pixels as an image of another label, as {}", other_label, label_example));
  }

  void values() {
    for (const ValueRange& range : manifest_.values) {
      row("values",
          fmt::format("{} images of {} bits: {} to {} of 255 as they are read", range.images, range.bits, range.least, range.most));
      if (range.most < 128) {
        const int used = 8 + std::bit_width(static_cast<unsigned>(range.most));  // 255 is the high byte of 16
        warn(fmt::format(
            "{} images of {} bits are dark: no pixel of them is brighter than {} of 255{}", range.images, range.bits, range.most,
            range.bits > 8 ? fmt::format("; the files use {} of their bits: pack with --used-bits {} to scale them", used, used) : ""));
      }
    }
    if (manifest_.one_colour > 0) {
      row("one colour", fmt::format("{} images", manifest_.one_colour));
      warn(fmt::format("{} images are of one colour throughout", manifest_.one_colour));
    }
  }

  void left_out() {
    row("left out", fmt::format("{} bad inputs{}", manifest_.bad, manifest_.bad > 0 ? ", see bad.csv" : ""));
    std::map<std::string, uint64_t> of_class;
    for (const LeftOut& entry : manifest_.left_out) {
      result_.text += fmt::format("  {:>9}  {}{}\n", entry.images, entry.class_name.empty() ? "" : entry.class_name + ": ", entry.reason);
      if (!entry.class_name.empty()) of_class[entry.class_name] += entry.images;
    }
    if (manifest_.label_columns.empty()) return;
    const std::vector<std::string>& classes = manifest_.label_columns.front().classes;
    std::vector<std::string> lost;
    for (size_t c = 0; c < classes.size(); ++c)
      if (of_class.contains(classes[c]) && count(Split::kTrain, c) + count(Split::kVal, c) + count(Split::kTest, c) == 0)
        lost.push_back(classes[c]);
    if (!lost.empty()) warn(fmt::format("{} classes lost all their images, see bad.csv: {}", lost.size(), some_of(lost)));
  }

  /// Classes whose names differ by case, blanks, hyphens, underscores or the form of their accents only, and names that are no classes but
  /// the lack of one, or splits.
  void names() {
    std::vector<LabelColumn> columns;
    for (const LabelColumn& column : manifest_.label_columns) {
      if (column.list.empty()) {
        columns.push_back(column);
        continue;
      }
      auto list = std::find_if(columns.begin(), columns.end(), [&](const LabelColumn& one) { return one.name == column.list; });
      if (list == columns.end()) list = columns.insert(list, {column.list, {}});
      list->classes.push_back(label_name(column.name));
    }
    for (const LabelColumn& column : columns) {
      std::map<std::string, std::vector<std::string>> alike;
      std::vector<std::string> odd;
      for (const std::string& name : column.classes) {
        const std::string plain = plain_name(name);
        alike[plain].push_back('"' + name + '"');
        static const std::set<std::string> kOdd = {"nan",        "none",  "null",   "na",         "n/a",   "unknown", "unlabeled",
                                                   "unlabelled", "other", "misc",   "tmp",        "temp",  "new",     "old",
                                                   "backup",     "copy",  "images", "thumbnails", "thumbs"};
        Split split;
        if (kOdd.contains(plain) || split_from_name(name, split) || name == "-1" || name == "?" || name == "-" || name.front() == ' ' ||
            name.back() == ' ')
          odd.push_back('"' + name + '"');
      }
      for (const auto& [plain, written] : alike)
        if (written.size() > 1)
          warn(fmt::format("column \"{}\": {} are {} classes, and may be meant as one", column.name, fmt::join(written, " and "),
                           written.size()));
      if (!odd.empty()) warn(fmt::format("column \"{}\": is this a class? {}", column.name, some_of(odd)));
    }
  }

  const ImagesToExamine& set_;
  const Manifest& manifest_;
  Preflight result_;
};

}  // namespace

Preflight preflight(const Dataset& set, const Manifest& manifest) {
  const ImagesToExamine images{set.size(),
                               set.has_groups(),
                               [&](uint64_t id) { return set.meta(id); },
                               [&](uint64_t id) { return set.key(id); },
                               [&](uint64_t id) { return set.content_id(id); },
                               [&](uint64_t id, size_t column) { return set.label(id, column); }};
  return Examination(images, manifest).run();
}

std::vector<std::string> warnings_of_plan(const ImagesToExamine& images, const Manifest& manifest) {
  return Examination(images, manifest).planned();
}

}  // namespace dinoxx
