#include "more_images.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "base/rng.hpp"
#include "eval/classify/folds.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/lanes.hpp"
#include "eval/statistics/resampling.hpp"
#include "results/needed_images.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kDraws = 20, kBootstraps = 400;
constexpr int64_t kFewest = 8, kFewestTested = 10;
constexpr size_t kClasses = 100;
constexpr std::array<double, 4> kTimes{1.5, 2, 3, 4};
// Of the draws: apart from those of the curve of all classes.
constexpr uint64_t kFirstDraw = 1000;

double logit(double share) {
  return std::log(share / (1 - share));
}

// One class: its images of the memory without second copies, and its queries.
struct Class {
  int32_t label = 0;
  std::vector<int64_t> rows;
  std::vector<uint64_t> ids, units;
  std::vector<int64_t> queries;
  std::vector<uint64_t> groups;  // of the queries
  size_t distinct_units() const {
    std::set<uint64_t> seen;
    size_t single = 0;
    for (const uint64_t unit : units) unit == 0 ? void(++single) : void(seen.insert(unit));
    return seen.size() + single;
  }
  std::string left_out() const {
    if (rows.size() < static_cast<size_t>(kFewest)) return fmt::format("fewer than {} training images", kFewest);
    if (distinct_units() < static_cast<size_t>(kFewest)) return fmt::format("training images of fewer than {} groups", kFewest);
    if (queries.size() < static_cast<size_t>(kFewestTested)) return fmt::format("fewer than {} test images", kFewestTested);
    return "";
  }
};

std::vector<Class> rarest(const ProtocolInput& input) {
  const EvalData& data = input.data;
  const std::vector<bool> distinct = first_copies(input.dataset, data.memory);
  const std::vector<uint64_t> units = units_of(input.dataset, data.memory), groups = groups_of(input.dataset, data.queries);
  std::vector<Class> classes(static_cast<size_t>(data.classes));
  for (size_t row = 0; row < data.memory.size(); ++row) {
    if (!distinct[row]) continue;
    Class& of = classes[static_cast<size_t>(data.memory_labels[row])];
    of.rows.push_back(static_cast<int64_t>(row));
    of.ids.push_back(data.memory[row]);
    of.units.push_back(units[row]);
  }
  for (size_t q = 0; q < data.queries.size(); ++q) {
    Class& of = classes[static_cast<size_t>(data.query_labels[q])];
    of.queries.push_back(static_cast<int64_t>(q));
    of.groups.push_back(groups[q]);
  }
  for (size_t c = 0; c < classes.size(); ++c) classes[c].label = static_cast<int32_t>(c);
  std::erase_if(classes, [](const Class& of) { return of.rows.empty() || of.queries.empty(); });
  std::ranges::stable_sort(classes, {}, [](const Class& of) { return of.rows.size(); });
  classes.resize(std::min(classes.size(), kClasses));
  return classes;
}

// Numbers of images at which the curve is measured: all, half of them, and so on.
std::vector<int64_t> sizes_of(int64_t images) {
  std::vector<int64_t> sizes;
  for (int64_t part = 16; part >= 1; part /= 2)
    if (const int64_t m = images / part; m >= 2 && (sizes.empty() || m > sizes.back())) sizes.push_back(m);
  return sizes;
}

// Score of the class's own mean, of some of its images, for its queries.
at::Tensor own_scores(const Prepared& prepared, const Class& of, const std::vector<int64_t>& chosen, const at::Tensor& queries) {
  std::vector<int64_t> rows;
  rows.reserve(chosen.size());
  for (const int64_t row : chosen) rows.push_back(of.rows[static_cast<size_t>(row)]);
  const at::Tensor support = prepared.centred_memory.index_select(0, at::tensor(rows, at::kLong));
  return nearest_mean_scores(support, std::vector<int32_t>(rows.size(), 0), 1, queries).select(1, 0);
}

// Right answers [queries of the class] of one choice of images.
std::vector<uint8_t> right(const at::Tensor& own, const at::Tensor& others) {
  const at::Tensor answers = own.gt(others).to(at::kByte).contiguous();
  return {answers.const_data_ptr<uint8_t>(), answers.const_data_ptr<uint8_t>() + answers.numel()};
}

// The curve of a class, measured: for each number of images the right answers of each draw.
struct Measured {
  std::vector<double> images;
  std::vector<std::vector<std::vector<uint8_t>>> answers;  // [sizes][draws][queries]
};

Measured measure(const ProtocolInput& input, const Prepared& prepared, const Class& of) {
  const EvalData& data = input.data;
  const at::Tensor queries = prepared.centred_queries.index_select(0, at::tensor(of.queries, at::kLong));
  at::Tensor scores = nearest_mean_scores(prepared.centred_memory, data.memory_labels, data.classes, queries);
  scores.select(1, of.label).fill_(-std::numeric_limits<double>::infinity());
  const at::Tensor others = std::get<0>(scores.max(1));
  const std::vector<int32_t> labels(of.ids.size(), 0);
  Measured curve;
  const auto all = static_cast<int64_t>(of.rows.size());
  for (const int64_t m : sizes_of(all)) {
    curve.images.push_back(static_cast<double>(m));
    auto& draws = curve.answers.emplace_back();
    for (int64_t draw = 0; draw < (m == all ? 1 : kDraws); ++draw)
      draws.push_back(
          right(own_scores(prepared, of,
                           draw_shots(of.ids, labels, 1, m, input.seed, kFirstDraw + static_cast<uint64_t>(draw), {}, of.units), queries),
                others));
  }
  return curve;
}

double mean_right(const std::vector<uint8_t>& answers, std::span<const uint32_t> counts = {}) {
  double sum = 0, images = 0;
  for (size_t q = 0; q < answers.size(); ++q) {
    const double times = counts.empty() ? 1 : counts[q];
    sum += times * answers[q];
    images += times;
  }
  return images > 0 ? sum / images : 0;
}

// How far the recall of all images would be from this one's with other images of the same number, on the scale of logits: of halves of them
// it is seen over the draws, and the variance of a mean falls with the number of images.
double spread_of_choice(const Measured& curve) {
  const auto& halves = curve.answers[curve.answers.size() - 2];
  double mean = 0, squares = 0;
  for (const auto& draw : halves) mean += mean_right(draw) / static_cast<double>(halves.size());
  for (const auto& draw : halves) squares += (mean_right(draw) - mean) * (mean_right(draw) - mean) / static_cast<double>(halves.size() - 1);
  const double now = std::clamp(mean_right(curve.answers.back()[0]), 0.02, 0.98);
  return std::sqrt(squares / 2) / (now * (1 - now));
}

// A row of a class: now, then for each of kTimes and for any number of images the prediction and its interval.
constexpr int64_t kWidth = 1 + 3 * (static_cast<int64_t>(kTimes.size()) + 1);

void predict_class(const ProtocolInput& input, const Prepared& prepared, const Class& of, double* row) {
  const Measured curve = measure(input, prepared, of);
  const double least = 0.5 / static_cast<double>(of.queries.size()), all = curve.images.back();
  const auto predictions = [&](const MeanCurve& fitted) {
    std::array<double, kTimes.size() + 1> at{};
    for (size_t t = 0; t < kTimes.size(); ++t) at[t] = fitted.recall(std::round(kTimes[t] * all));
    at.back() = fitted.recall(std::numeric_limits<double>::infinity());
    return at;
  };
  std::vector<double> recall;
  for (const auto& draws : curve.answers) {
    double sum = 0;
    for (const auto& draw : draws) sum += mean_right(draw);
    recall.push_back(sum / static_cast<double>(draws.size()));
  }
  *row++ = recall.back();
  const auto point = predictions(fit_mean_curve(curve.images, recall, least));
  // both choices once more: of the test images (whole groups where there are any), and of the training images
  const Resampler resampler(std::vector<int32_t>(of.queries.size(), 0), of.groups, 1, input.seed);
  const double spread = spread_of_choice(curve);
  std::array<std::vector<double>, kTimes.size() + 1> drawn;
  for (int64_t b = 0; b < kBootstraps; ++b) {
    CounterRng rng(input.seed, static_cast<uint64_t>(b), lane(Lane::kMoreImages, static_cast<uint64_t>(of.label)), Purpose::kEval);
    const std::vector<uint32_t> counts = resampler.counts(b);
    for (size_t m = 0; m < curve.answers.size(); ++m) {
      const auto& draws = curve.answers[m];
      double sum = 0;
      for (size_t d = 0; d < draws.size(); ++d) sum += mean_right(draws[rng.below(draws.size())], counts);
      recall[m] = sum / static_cast<double>(draws.size());
    }
    MeanCurve fitted = fit_mean_curve(curve.images, recall, least);
    fitted.limit += spread * rng.normal();
    const auto at = predictions(fitted);
    for (size_t t = 0; t < at.size(); ++t) drawn[t].push_back(at[t]);
  }
  for (size_t t = 0; t < drawn.size(); ++t) {
    std::ranges::sort(drawn[t]);
    *row++ = point[t];
    *row++ = quantile(drawn[t], 0.025);
    *row++ = quantile(drawn[t], 0.975);
  }
}

std::string percent_of(const json& value) {
  return value.is_number() ? fmt::format("{:.2f}", 100 * value.get<double>()) : "-";
}

std::string range_of(const json& interval) {
  return percent_of(interval[0]) + "-" + percent_of(interval[1]);
}

}  // namespace

double MeanCurve::recall(double images) const {
  return 1 / (1 + std::exp(-(limit - loss / images)));
}

MeanCurve fit_mean_curve(std::span<const double> images, std::span<const double> recall, double least) {
  double weights = 0, x_mean = 0, z_mean = 0;
  std::vector<double> z;
  for (size_t i = 0; i < images.size(); ++i) {
    z.push_back(logit(std::clamp(recall[i], least, 1 - least)));
    weights += images[i];
    x_mean -= 1;  // m times -1 / m
    z_mean += images[i] * z[i];
  }
  x_mean /= weights;
  z_mean /= weights;
  double products = 0, squares = 0;
  for (size_t i = 0; i < images.size(); ++i) {
    const double x = -1 / images[i] - x_mean;
    products += images[i] * x * (z[i] - z_mean);
    squares += images[i] * x * x;
  }
  const double loss = products / squares;
  return {z_mean - loss * x_mean, loss};
}

json more_images(const ProtocolInput& input, const Prepared& prepared, std::span<const int32_t> answers) {
  const std::vector<Class> classes = rarest(input);
  std::vector<size_t> told;
  for (size_t c = 0; c < classes.size(); ++c)
    if (classes[c].left_out().empty()) told.push_back(c);
  const at::Tensor rows = run_tasks(input.comm, static_cast<int64_t>(told.size()), kWidth, input.threads, [&](int64_t task, double* row) {
    predict_class(input, prepared, classes[told[static_cast<size_t>(task)]], row);
  });
  const Stat target = balanced_accuracy(tally(input.data.query_labels, answers, input.data.classes));
  json result = {
      {"rule",
       "SimpleShot's recall of a class with more training images of it alone: logit = limit - loss / images, fitted to its recall "
       "with all, half, a quarter ... of its images"},
      {"classes", json::array()}};
  put(result, "target", target);
  size_t next = 0;
  for (size_t c = 0; c < classes.size(); ++c) {
    const Class& of = classes[c];
    json entry = {{"name", class_name(input.dataset, of.label)}, {"memory", of.rows.size()}, {"queries", of.queries.size()}};
    if (const std::string why = of.left_out(); !why.empty()) {
      entry["left_out"] = why;
      result["classes"].push_back(std::move(entry));
      continue;
    }
    const double* row = rows.const_data_ptr<double>() + static_cast<int64_t>(next++) * kWidth;
    const double now = *row++;
    entry["recall"] = now;
    const bool below = target.value && now < *target.value;
    json enough = nullptr, not_enough = nullptr;
    for (const double times : kTimes) {
      const double images = std::round(times * static_cast<double>(of.rows.size())), low = row[1], high = row[2];
      entry["at"].push_back({{"times", times}, {"images", images}, {"recall", row[0]}, {"interval95", {low, high}}});
      if (below && high < *target.value) not_enough = images;
      if (below && low >= *target.value && enough.is_null()) enough = images;
      row += 3;
    }
    entry["limit"] = row[0];
    entry["limit95"] = {row[1], row[2]};
    entry["not_enough"] = std::move(not_enough);
    entry["enough"] = std::move(enough);
    result["classes"].push_back(std::move(entry));
  }
  return result;
}

std::string more_images_table(const json& result) {
  constexpr size_t kShown = 10;
  const json more = result.value("more_images", json::object());
  if (!more.contains("classes")) return "";
  std::string text;
  size_t width = 5, shown = 0;
  for (const json& row : more["classes"]) width = std::max(width, row["name"].get<std::string>().size());
  const auto at = [&](const json& row, size_t place) {
    return fmt::format("{} ({})", percent_of(row["at"][place]["recall"]), range_of(row["at"][place]["interval95"]));
  };
  for (const json& row : more["classes"]) {
    if (row.contains("left_out") || shown++ == kShown) continue;
    if (text.empty()) {
      text = fmt::format(
          "more training images of a class: recall of SimpleShot in % as it is, and as predicted with 95 % intervals; mean of all classes "
          "now {}\n",
          percent_of(more["target"]));
      text += fmt::format("  {:<{}}{:>9}{:>9}{:>22}{:>22}   {}\n", "class", width, "images", "recall", "twice as many",
                          "four times as many", "for the mean of all");
    }
    text += fmt::format("  {:<{}}{:>9}{:>9}{:>22}{:>22}   {}\n", row["name"].get<std::string>(), width, row["memory"].get<int64_t>(),
                        percent_of(row["recall"]), at(row, 1), at(row, 3), needed_images_text(row, more["target"]));
  }
  return text;
}

}  // namespace dinoxx::eval
