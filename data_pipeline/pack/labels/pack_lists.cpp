// Columns of lists of labels (multi-label): "cat;dog" becomes a column of yes and no for each label.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "data_pipeline/labels/label_lists.hpp"
#include "data_pipeline/pack/pack_plan.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

constexpr size_t kMostLabels = 1000;
constexpr int32_t kNo = 0, kYes = 1, kUnknown = -1;

bool says_none(std::string word) {
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word == "none";
}

std::set<std::string> parts_of(const std::string& text, const std::string& separator) {
  std::set<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (const std::string_view part = without_blanks(std::string_view(text).substr(begin, end - begin)); !part.empty()) parts.emplace(part);
    begin = end + separator.size();
  }
  return parts;
}

std::vector<size_t> columns_of_lists(const std::vector<LabelColumn>& columns) {
  std::vector<size_t> places;
  for (size_t c = 0; c < columns.size(); ++c)
    if (!columns[c].list.empty()) places.push_back(c);
  return places;
}

}  // namespace

std::string list_separator(const std::string& column, std::span<const std::string> texts, const std::string& asked) {
  if (!may_hold_lists(column)) return "";
  if (!asked.empty()) return asked;
  for (const char* separator : {";", "|"})
    if (std::ranges::any_of(texts, [&](const std::string& text) { return text.find(separator) != std::string::npos; })) return separator;
  return "";
}

bool may_hold_lists(const std::string& column) {
  return column == "labels" || column.starts_with("labels_");
}

void add_label_lists(PackPlan& plan, const std::string& column, std::span<const std::string> texts, const std::string& separator) {
  std::vector<std::set<std::string>> of_image;
  of_image.reserve(texts.size());
  std::set<std::string> names;
  size_t unknown = 0, none = 0;
  for (const std::string& text : texts) {
    of_image.push_back(parts_of(text, separator));
    const std::set<std::string>& labels = of_image.back();
    unknown += labels.empty() ? 1 : 0;
    none += !labels.empty() && std::ranges::all_of(labels, says_none) ? 1 : 0;
    for (const std::string& label : labels)
      if (!says_none(label)) names.insert(label);
  }
  if (names.size() > kMostLabels)
    fail_usage(fmt::format("column \"{}\"", column), fmt::format("at most {} different labels", kMostLabels),
               fmt::format("{}, such as \"{}\"", names.size(), *names.begin()),
               fmt::format("Labels are separated by \"{}\" here; --label-separator says otherwise.", separator));
  if (names.empty())
    fail_usage(fmt::format("column \"{}\"", column), "labels", fmt::format("{} empty fields, {} times \"none\"", unknown, none),
               "Leave the column out.");
  for (const std::string& name : names) {
    const std::string own = "label_" + name;
    if (std::ranges::find(plan.columns, own, &LabelColumn::name) != plan.columns.end())
      fail_usage(fmt::format("column \"{}\"", column), "labels that are no columns of their own",
                 fmt::format("the label \"{}\" and a column \"{}\"", name, own), "Rename one of them.");
    plan.columns.push_back({own, {"no", "yes"}, column});
  }
  for (size_t i = 0; i < of_image.size(); ++i) {
    const std::set<std::string>& labels = of_image[i];
    for (const std::string& name : names) plan.items[i].labels.push_back(labels.empty() ? kUnknown : labels.contains(name) ? kYes : kNo);
  }
  plan.notes.push_back(fmt::format("column \"{}\": lists of {} labels, separated by \"{}\"{}{}", column, names.size(), separator,
                                   none > 0 ? fmt::format("; {} images have none of them", none) : "",
                                   unknown > 0 ? fmt::format("; {} empty fields count as not labelled (\"none\" says that an image has "
                                                             "none of the labels)",
                                                             unknown)
                                               : ""));
}

void take_over_lists(PackPlan& plan, const std::vector<LabelColumn>& before) {
  for (const size_t there : columns_of_lists(before)) {
    const LabelColumn& column = before[there];
    if (std::ranges::find(plan.columns, column.name, &LabelColumn::name) != plan.columns.end()) continue;
    // no image of the input has this label: where the list is known, the answer is no
    const auto same = std::ranges::find(plan.columns, column.list, &LabelColumn::list);
    if (same == plan.columns.end()) return;
    const auto known = same - plan.columns.begin();
    const auto place = static_cast<std::ptrdiff_t>(std::min(there, plan.columns.size()));
    for (PackItem& item : plan.items) {
      const int32_t label = item.labels[static_cast<size_t>(known)] == kUnknown ? kUnknown : kNo;
      item.labels.insert(item.labels.begin() + place, label);
    }
    plan.columns.insert(plan.columns.begin() + place, column);
  }
}

void choose_strata(PackPlan& plan) {
  const std::vector<size_t> lists = columns_of_lists(plan.columns);
  const bool one_label = lists.empty() || lists.front() != 0;
  std::vector<int64_t> images(lists.size());
  std::vector<int8_t> has(lists.size());
  const auto read = [&](const PackItem& item) {
    std::ranges::transform(lists, has.begin(), [&](size_t c) { return static_cast<int8_t>(item.labels[c]); });
  };
  for (const PackItem& item : plan.items) {
    read(item);
    for (size_t l = 0; l < has.size(); ++l) images[l] += has[l] == kYes;
  }
  for (PackItem& item : plan.items) {
    if (one_label) {
      item.stratum = item.labels.empty() ? kUnknown : item.labels[0];
      continue;
    }
    read(item);
    item.stratum = rarest_label(has, images);
  }
}

}  // namespace dinoxx::detail
