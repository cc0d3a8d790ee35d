#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

/// Images with several labels (multi-label): each label is a question of yes and no, in a column of its own.
namespace dinoxx {

/// One label that an image has or has not.
struct BinaryLabel {
  std::string name;
  size_t column = 0;  ///< in label_columns()
  int32_t yes = 1;    ///< which of its classes means that the image has it

  /// 1 the image has it, 0 it has not, -1 not known.
  int8_t of(const Dataset& dataset, uint64_t id) const {
    const int32_t label = dataset.label(id, column);
    return label < 0 ? int8_t{-1} : label == yes ? int8_t{1} : int8_t{0};
  }
};

/// Whether the first column is one label of a list of several: then none of the columns is "the" class of an image.
bool has_label_lists(const Dataset& dataset);

/// The labels that `names` asks for: "all" (those of lists, or without lists every column of yes and no), or names of columns
/// (find_label_column) with commas between. Yes and no may be written yes/no, true/false, present/absent, positive/negative, 1/0.
/// UsageError about `option`: no such column, a column with other classes, the same twice, none at all.
std::vector<BinaryLabel> find_binary_labels(const Dataset& dataset, const std::string& names, const std::string& option = "--labels");
/// The same of names that may have commas in them.
std::vector<BinaryLabel> binary_labels_of(const Dataset& dataset, const std::vector<std::string>& names,
                                          const std::string& option = "--labels");

/// Of an image's labels (1 it has it, 0 it has not, -1 not known) the place of the one that the fewest of `images` have (equal: the first);
/// has.size() where it has none of them, -1 where none is known.
int32_t rarest_label(std::span<const int8_t> has, std::span<const int64_t> images);

/// Name of the first column of with_rarest_label(), and of its last class: images that have none of the labels.
inline constexpr const char* kRarestColumn = "labels";
inline constexpr const char* kNoLabel = "(none of them)";

/// The data set with one class for each image, for all that must have one (what is held out, folds, balanced sampling, the curve during
/// training): of its labels the one that the fewest training images have (equal: the first). Images without any of them are a class of
/// their own, and those of which no label is known have none. All columns of `dataset` follow, so that the columns of `labels` are moved by
/// one.
std::shared_ptr<const Dataset> with_rarest_label(std::shared_ptr<const Dataset> dataset, std::vector<BinaryLabel>& labels);
/// with_rarest_label() of all labels where has_label_lists(), else `dataset` itself.
std::shared_ptr<const Dataset> with_one_label(std::shared_ptr<const Dataset> dataset);

}  // namespace dinoxx
