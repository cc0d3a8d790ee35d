#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx {

/// A data set with other labels: all but these is the whole's. `columns`: all label columns, the first as meta().label of each image in
/// `labels` says.
class DatasetView : public Dataset {
 public:
  DatasetView(std::shared_ptr<const Dataset> whole, std::vector<LabelColumn> columns, const std::vector<int32_t>& labels);
  uint64_t size() const override { return whole_->size(); }
  const std::string& fingerprint() const override { return whole_->fingerprint(); }
  const std::vector<std::string>& class_names() const override { return columns_.front().classes; }
  const SampleMeta& meta(uint64_t id) const override { return metas_.at(id); }
  std::string key(uint64_t id) const override { return whole_->key(id); }
  void read(uint64_t id, std::vector<uint8_t>& bytes) const override { whole_->read(id, bytes); }
  void read_mask(uint64_t id, std::vector<uint8_t>& bytes) const override { whole_->read_mask(id, bytes); }
  bool has_split(Split split) const override { return whole_->has_split(split); }
  std::vector<uint64_t> ids(Split split) const override { return whole_->ids(split); }
  const std::vector<LabelColumn>& label_columns() const override { return columns_; }
  int32_t label(uint64_t id, size_t column) const override;
  bool has_masks() const override { return whole_->has_masks(); }
  bool has_groups() const override { return whole_->has_groups(); }
  int used_bits() const override { return whole_->used_bits(); }
  std::vector<std::string> notes() const override { return whole_->notes(); }
  std::array<uint64_t, 2> content_id(uint64_t id) const override { return whole_->content_id(id); }

 private:
  std::shared_ptr<const Dataset> whole_;
  std::vector<LabelColumn> columns_;
  std::vector<size_t> column_of_;  ///< of the whole, for each of `columns_`
  std::vector<SampleMeta> metas_;
};

/// What users call a label column: what stands behind "label_", else the column's name.
std::string label_name(const std::string& column);

/// The number of a label column: by its name, or by what stands in it behind "label_". UsageError about `option`, with the names that there
/// are.
size_t find_label_column(const Dataset& dataset, const std::string& name, const std::string& option);

/// The data set with another column's labels as those of the images: class_names(), meta().label and column 0. The other columns follow in
/// their order. The data set itself where `name` is empty or the first.
std::shared_ptr<const Dataset> with_label_column(std::shared_ptr<const Dataset> dataset, const std::string& name,
                                                 const std::string& option = "--label");

}  // namespace dinoxx
