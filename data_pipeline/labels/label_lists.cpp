#include "label_lists.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/text/plain_name.hpp"
#include "dataset_view.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNoAndYes{
    {{"no", "yes"}, {"false", "true"}, {"0", "1"}, {"absent", "present"}, {"negative", "positive"}, {"n", "y"}}};

// "1" also where a table with gaps has written "1.0".
std::string answer_of(const std::string& name) {
  std::string plain = plain_name(name);
  if (const size_t point = plain.find('.'); point != std::string::npos && plain.find_first_not_of('0', point + 1) == std::string::npos)
    plain.resize(point);
  return plain;
}

// Which class means yes; nothing where these are no classes of yes and no. A column that knows one of the two only has no other.
std::optional<int32_t> yes_of(const LabelColumn& column) {
  if (column.classes.empty() || column.classes.size() > 2) return std::nullopt;
  for (const auto& [no, yes] : kNoAndYes) {
    std::optional<int32_t> place;
    bool all = true;
    for (size_t c = 0; c < column.classes.size(); ++c) {
      const std::string name = answer_of(column.classes[c]);
      all &= name == no || name == yes;
      if (name == yes) place = static_cast<int32_t>(c);
    }
    if (all) return place.value_or(static_cast<int32_t>(column.classes.size()));
  }
  return std::nullopt;
}

std::vector<BinaryLabel> all_of(const Dataset& dataset) {
  const std::vector<LabelColumn>& columns = dataset.label_columns();
  const bool lists = std::ranges::any_of(columns, [](const LabelColumn& column) { return !column.list.empty(); });
  std::vector<BinaryLabel> labels;
  for (size_t c = 0; c < columns.size(); ++c) {
    if (lists && columns[c].list.empty()) continue;
    if (const std::optional<int32_t> yes = yes_of(columns[c])) labels.push_back({label_name(columns[c].name), c, *yes});
  }
  return labels;
}

}  // namespace

bool has_label_lists(const Dataset& dataset) {
  return !dataset.label_columns().empty() && !dataset.label_columns().front().list.empty();
}

std::vector<BinaryLabel> find_binary_labels(const Dataset& dataset, const std::string& names, const std::string& option) {
  std::vector<BinaryLabel> labels;
  if (names == "all") {
    labels = all_of(dataset);
    if (labels.empty())
      fail_usage(option, "a data set with several labels an image",
                 dataset.label_columns().empty() ? "no labels" : "no column of yes and no",
                 "Pack a list with a column \"labels\" (cat;dog), or with a column of yes and no for each label: label_cat, label_dog.");
    return labels;
  }
  std::vector<std::string> list;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    list.push_back(names.substr(begin, end - begin));
    begin = end + 1;
  }
  return binary_labels_of(dataset, list, option);
}

std::vector<BinaryLabel> binary_labels_of(const Dataset& dataset, const std::vector<std::string>& names, const std::string& option) {
  std::vector<BinaryLabel> labels;
  for (const std::string& name : names) {
    const size_t place = find_label_column(dataset, name, option);
    const LabelColumn& column = dataset.label_columns()[place];
    const std::optional<int32_t> yes = yes_of(column);
    if (!yes)
      fail_usage(option, "columns of yes and no (or 1 and 0, true and false, present and absent, positive and negative)",
                 fmt::format("{} with {} classes: {}{}", column.name, column.classes.size(),
                             fmt::join(column.classes.begin(),
                                       column.classes.begin() + std::min<std::ptrdiff_t>(5, std::ssize(column.classes)), ", "),
                             column.classes.size() > 5 ? ", ..." : ""),
                 fmt::format("One class an image is scored by --label {}.", label_name(column.name)));
    if (std::ranges::find(labels, place, &BinaryLabel::column) != labels.end())
      fail_usage(option, "each label once", fmt::format("\"{}\" twice", label_name(column.name)), "Take one away.");
    labels.push_back({label_name(column.name), place, *yes});
  }
  return labels;
}

int32_t rarest_label(std::span<const int8_t> has, std::span<const int64_t> images) {
  const auto none = static_cast<int32_t>(has.size());
  int32_t rarest = -1;
  for (size_t l = 0; l < has.size(); ++l) {
    if (has[l] == 0 && rarest < 0) rarest = none;
    if (has[l] == 1 && (rarest < 0 || rarest == none || images[l] < images[static_cast<size_t>(rarest)])) rarest = static_cast<int32_t>(l);
  }
  return rarest;
}

std::shared_ptr<const Dataset> with_rarest_label(std::shared_ptr<const Dataset> dataset, std::vector<BinaryLabel>& labels) {
  std::vector<int64_t> images(labels.size());
  for (uint64_t id = 0; id < dataset->size(); ++id) {
    if (dataset->meta(id).split != Split::kTrain) continue;
    for (size_t l = 0; l < labels.size(); ++l) images[l] += labels[l].of(*dataset, id) == 1;
  }
  std::vector<int32_t> rarest;
  rarest.reserve(dataset->size());
  std::vector<int8_t> has(labels.size());
  for (uint64_t id = 0; id < dataset->size(); ++id) {
    std::ranges::transform(labels, has.begin(), [&](const BinaryLabel& label) { return label.of(*dataset, id); });
    rarest.push_back(rarest_label(has, images));
  }
  LabelColumn first{kRarestColumn, {}, kRarestColumn};
  for (BinaryLabel& label : labels) {
    first.classes.push_back(label.name);
    ++label.column;
  }
  first.classes.emplace_back(kNoLabel);
  std::vector<LabelColumn> columns{std::move(first)};
  columns.insert(columns.end(), dataset->label_columns().begin(), dataset->label_columns().end());
  return std::make_shared<DatasetView>(std::move(dataset), std::move(columns), rarest);
}

std::shared_ptr<const Dataset> with_one_label(std::shared_ptr<const Dataset> dataset) {
  if (!has_label_lists(*dataset)) return dataset;
  std::vector<BinaryLabel> labels = find_binary_labels(*dataset, "all");
  return with_rarest_label(std::move(dataset), labels);
}

}  // namespace dinoxx
