#include "guide_targets.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "data_pipeline/labels/dataset_view.hpp"
#include "data_pipeline/loader/balanced_sampler.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr float kNotKnown = std::numeric_limits<float>::quiet_NaN();
constexpr double kGoTogether = 0.3;  // Cramér's V from which a column to forget is said to go with the labels

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::vector<int32_t> labels_in(const Dataset& dataset, size_t column) {
  std::vector<int32_t> labels(dataset.size());
  for (uint64_t id = 0; id < dataset.size(); ++id) labels[id] = dataset.label(id, column);
  return labels;
}

void refuse_constant(const GuideColumn& column, const std::string& found) {
  fail_usage(column.key(), fmt::format("two different values or more in column {} on the training images", column.name), found,
             "A column that is the same everywhere says nothing: leave it out");
}

// The values of a column, as numbers of mean 0 and variance 1 over the training images.
std::vector<float> scaled_numbers(const GuideColumn& column, const LabelColumn& of, std::span<const int32_t> labels, const Dataset& dataset,
                                  std::span<const uint64_t> ids) {
  std::vector<double> values;
  values.reserve(of.classes.size());
  for (size_t i = 0; i < of.classes.size(); ++i) {
    const std::optional<double> value = number_of(of.classes[i]);
    if (!value) {
      const auto at = std::ranges::find(labels, static_cast<int32_t>(i));
      fail_usage(column.key(), fmt::format("numbers in column {}", column.name),
                 at == labels.end() ? fmt::format("\"{}\"", of.classes[i])
                                    : fmt::format("\"{}\" ({})", of.classes[i], dataset.key(static_cast<uint64_t>(at - labels.begin()))),
                 fmt::format("Leave out \":number\" to take its values as classes: {}", column.name));
    }
    values.push_back(*value);
  }
  double sum = 0, square = 0;
  int64_t count = 0;
  const auto each = [&](auto&& add) {
    for (const uint64_t id : ids)
      if (labels[id] >= 0) add(values[static_cast<size_t>(labels[id])]);
  };
  each([&](double value) { sum += value, ++count; });
  const double mean = count > 0 ? sum / static_cast<double>(count) : 0;
  each([&](double value) { square += (value - mean) * (value - mean); });
  if (square == 0) refuse_constant(column, count == 0 ? std::string("no value") : fmt::format("{} on each of {} images", mean, count));
  const double deviation = std::sqrt(square / static_cast<double>(count));
  std::vector<float> scaled(labels.size(), kNotKnown);
  for (size_t id = 0; id < labels.size(); ++id)
    if (labels[id] >= 0) scaled[id] = static_cast<float>((values[static_cast<size_t>(labels[id])] - mean) / deviation);
  return scaled;
}

std::vector<int32_t> of_images(std::span<const int32_t> labels, std::span<const uint64_t> ids) {
  std::vector<int32_t> found;
  found.reserve(ids.size());
  for (const uint64_t id : ids) found.push_back(labels[id]);
  return found;
}

}  // namespace

double association(std::span<const int32_t> a, std::span<const int32_t> b) {
  std::map<int32_t, double> of_a, of_b;
  std::map<std::pair<int32_t, int32_t>, double> both;
  double all = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] < 0 || b[i] < 0) continue;
    ++of_a[a[i]], ++of_b[b[i]], ++both[{a[i], b[i]}], ++all;
  }
  const auto least = static_cast<double>(std::min(of_a.size(), of_b.size()));
  if (least < 2) return 0;
  // chi^2 / n = sum over cells of n_ab^2 / (n_a n_b), less 1; cells without images add nothing to the sum
  double sum = 0;
  for (const auto& [cell, count] : both) sum += count * count / (of_a[cell.first] * of_b[cell.second]);
  return std::sqrt(std::max(0.0, sum - 1) / (least - 1));
}

GuideTargets::GuideTargets(const std::vector<GuideColumn>& columns, const Dataset& dataset, std::span<const uint64_t> ids) {
  columns_.reserve(columns.size());
  notes_.reserve(columns.size());
  std::set<size_t> taken;
  for (const GuideColumn& column : columns) {
    const size_t number = find_label_column(dataset, column.name, column.key());
    if (!taken.insert(number).second)
      fail_usage(column.key(), "each column once, in guide.learn or in guide.forget", fmt::format("{} again", column.name), "Remove one");
    const LabelColumn& of = dataset.label_columns()[number];
    std::vector<int32_t> labels = labels_in(dataset, number);
    const std::vector<int32_t> trained = of_images(labels, ids);
    const std::set<int32_t> values = [&] {
      std::set<int32_t> found(trained.begin(), trained.end());
      found.erase(-1);
      return found;
    }();
    const auto known = std::ranges::count_if(trained, [](int32_t label) { return label >= 0; });
    const std::string told = fmt::format("{}s {} ({}, known of {} of {} training images)", column.forget ? "forget" : "learn", column.name,
                                         column.number ? "numbers" : fmt::format("{} classes", values.size()), known, ids.size());
    Column& target = columns_.emplace_back(Column{column.number, column.number ? 1 : static_cast<int64_t>(of.classes.size()), {}, {}});
    if (column.number) {
      target.numbers = scaled_numbers(column, of, labels, dataset, ids);
      notes_.push_back("guide " + told);
      continue;
    }
    if (values.size() < 2)
      refuse_constant(column, values.empty()
                                  ? std::string("no value")
                                  : fmt::format("\"{}\" on each of {} images", of.classes[static_cast<size_t>(*values.begin())], known));
    std::string but;
    if (2 * static_cast<int64_t>(values.size()) > known)
      but = fmt::format("; less than two images a class: too few to tell it from the images (are these numbers? {}:number)", column.name);
    if (column.forget && number != 0) {
      const double together = association(trained, labels_of(dataset, ids));
      if (together > kGoTogether)
        but += fmt::format("; it goes with {} (Cramér's V {:.2f}), so that part of that is forgotten, too",
                           label_name(dataset.label_columns().front().name), together);
    }
    notes_.push_back("guide " + told + but);
    target.classes = std::move(labels);
  }
}

std::vector<int64_t> GuideTargets::outputs() const {
  std::vector<int64_t> outputs;
  outputs.reserve(columns_.size());
  for (const Column& column : columns_) outputs.push_back(column.outputs);
  return outputs;
}

std::vector<at::Tensor> GuideTargets::of(std::span<const uint64_t> ids) const {
  std::vector<at::Tensor> targets;
  targets.reserve(columns_.size());
  for (const Column& column : columns_) {
    const auto count = static_cast<int64_t>(ids.size());
    at::Tensor target = at::empty({count}, column.number ? at::kFloat : at::kLong);
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t id = ids[static_cast<size_t>(i)];
      if (column.number)
        target.mutable_data_ptr<float>()[i] = column.numbers.at(id);
      else
        target.mutable_data_ptr<int64_t>()[i] = column.classes.at(id);
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace dinoxx
