#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data_pipeline/toy/toy.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::detail {

using ContentId = std::array<uint64_t, 2>;  ///< hash of the decoded pixels

/// One image to be packed.
struct PackItem {
  std::string key;              ///< unique in the plan, UTF-8
  std::string path, mask_path;  ///< mask_path empty = none; both unused by drawn sets
  std::vector<int32_t> labels;
  int32_t stratum = -1;  ///< of which held-out splits get their share (choose_strata)
  Split split = Split::kTrain;
  bool split_is_known = false;  ///< train, too, is not to be changed: its group is in the data folder to which it is added
  std::optional<uint64_t> group;
  float weight = 1.0f;
};

/// What to pack, in an order that depends on the input alone.
struct PackPlan {
  std::vector<PackItem> items;
  std::vector<LabelColumn> columns;
  bool has_splits = false, has_groups = false;
  std::string provenance = "{}";
  std::vector<std::string> warnings;
  std::vector<std::string> notes;  ///< what is worth knowing, and no reason to doubt
  /// Encoded image and mask (empty = none) of item i, for items that are not files. Thread-safe; throws Error.
  std::function<void(size_t i, std::vector<uint8_t>& image, std::vector<uint8_t>& mask)> draw;
};

/// Names of the file system as the data set keeps them: UTF-8 without control characters, reversible (base/utf8.hpp). Counts what had to be
/// changed.
class Names {
 public:
  std::string kept(const std::string& name);
  /// Says how many were changed, with an example.
  void add_warning(std::vector<std::string>& warnings) const;

 private:
  uint64_t changed_ = 0;
  std::string example_;
};

/// Class folders (label = name of the first folder, classes sorted by name), or images without folders (no labels); either below split
/// folders (split_folders.hpp), unless `split_folders` is false: then folders of such names are classes. UsageError when there is nothing
/// to pack.
PackPlan plan_folder(const std::filesystem::path& folder, bool split_folders = true, bool for_pack = true);

/// CSV with a header: path, then any of label, label2 ..., labels (lists), split, group, mask, weight. Paths are relative to the CSV's
/// folder. `separator`: list_separator(). UsageError names line and column.
PackPlan plan_list(const std::filesystem::path& csv, const std::string& separator = "");

PackPlan plan_toy(const ToyOptions& options);

/// `text` without spaces and tabs at both ends.
std::string_view without_blanks(std::string_view text);

/// Empties the fields by which tables say that there is no label: NaN, <NA>, #N/A, and -1 beside numbers from 0 on (alone with 1
/// it is one of two classes). `notes` says so.
void clear_missing_labels(const std::string& column, std::vector<std::string>& values, std::vector<std::string>& notes);

/// Whether a column of this name has lists of labels where its fields look like it: "labels" and "labels_...".
bool may_hold_lists(const std::string& column);
/// What stands between the labels of a column that may hold lists: `asked`, or ";" or "|" where a field has one; "" for a column of single
/// labels.
std::string list_separator(const std::string& column, std::span<const std::string> texts, const std::string& asked);
/// Columns label_NAME of no and yes for the labels of a column of lists, and a note. An empty field: nothing is known of the image; "none"
/// alone: it has none of the labels. UsageError: more than 1,000 different labels, a label that is a column already.
void add_label_lists(PackPlan& plan, const std::string& column, std::span<const std::string> texts, const std::string& separator);
/// Labels of lists that a data folder has and no image of the plan: their columns, with the answer no.
void take_over_lists(PackPlan& plan, const std::vector<LabelColumn>& before);
/// PackItem::stratum: the first label; where that is one of a list, the image's rarest one (none of them: a stratum of its own).
void choose_strata(PackPlan& plan);

/// Text values to class numbers: sorted by name, or by value when all are whole numbers. Empty text is -1. Returns the classes.
std::vector<std::string> number_classes(const std::vector<std::string>& values, std::vector<int32_t>& labels);

}  // namespace dinoxx::detail
