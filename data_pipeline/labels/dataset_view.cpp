#include "dataset_view.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

std::vector<std::string> names_of(const std::vector<LabelColumn>& columns) {
  std::vector<std::string> names;
  names.reserve(columns.size());
  for (const LabelColumn& column : columns) names.push_back(label_name(column.name));
  return names;
}

}  // namespace

std::string label_name(const std::string& column) {
  constexpr std::string_view kPrefix = "label_";
  return column.size() > kPrefix.size() && column.starts_with(kPrefix) ? column.substr(kPrefix.size()) : column;
}

DatasetView::DatasetView(std::shared_ptr<const Dataset> whole, std::vector<LabelColumn> columns, const std::vector<int32_t>& labels)
    : whole_(std::move(whole)), columns_(std::move(columns)) {
  const std::vector<LabelColumn>& before = whole_->label_columns();
  for (const LabelColumn& column : columns_)
    column_of_.push_back(static_cast<size_t>(std::ranges::find(before, column.name, &LabelColumn::name) - before.begin()));
  metas_.reserve(labels.size());
  for (uint64_t id = 0; id < whole_->size(); ++id) {
    metas_.push_back(whole_->meta(id));
    metas_.back().label = labels.at(id);
  }
}

int32_t DatasetView::label(uint64_t id, size_t column) const {
  return column == 0 ? meta(id).label : whole_->label(id, column_of_.at(column));
}

size_t find_label_column(const Dataset& dataset, const std::string& name, const std::string& option) {
  const std::vector<LabelColumn>& columns = dataset.label_columns();
  for (size_t i = 0; i < columns.size(); ++i)
    if (columns[i].name == name) return i;
  for (size_t i = 0; i < columns.size(); ++i)
    if (label_name(columns[i].name) == name) return i;
  const std::vector<std::string> names = names_of(columns);
  const std::string near = nearest_name(name, names);
  fail_usage(option, names.empty() ? "a data set with label columns" : fmt::format("one of its label columns: {}", fmt::join(names, ", ")),
             names.empty() ? std::string("none") : fmt::format("\"{}\"", name),
             names.empty()  ? "Pack a list with columns label, label_site ... (dinoxx pack --list)."
             : near.empty() ? "Columns of a list are packed when their names begin with \"label\": label_site."
                            : fmt::format("Did you mean {}?", near));
}

std::shared_ptr<const Dataset> with_label_column(std::shared_ptr<const Dataset> dataset, const std::string& name,
                                                 const std::string& option) {
  const size_t chosen = name.empty() ? 0 : find_label_column(*dataset, name, option);
  if (chosen == 0) return dataset;
  std::vector<LabelColumn> columns = dataset->label_columns();
  std::rotate(columns.begin(), columns.begin() + static_cast<std::ptrdiff_t>(chosen),
              columns.begin() + static_cast<std::ptrdiff_t>(chosen) + 1);
  std::vector<int32_t> labels;
  labels.reserve(dataset->size());
  for (uint64_t id = 0; id < dataset->size(); ++id) labels.push_back(dataset->label(id, chosen));
  return std::make_shared<DatasetView>(std::move(dataset), std::move(columns), labels);
}

}  // namespace dinoxx
