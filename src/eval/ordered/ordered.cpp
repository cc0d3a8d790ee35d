#include "ordered.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <optional>

#include "dinoxx/base/error.hpp"
#include "eval/features/blocks.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

// "3", "-1.5", "grade 3", "T2" -> the number at the end.
std::optional<double> number_at_end(const std::string& name) {
  size_t begin = name.size();
  while (begin > 0 && (std::isdigit(static_cast<unsigned char>(name[begin - 1])) || name[begin - 1] == '.')) --begin;
  if (begin == name.size()) return std::nullopt;
  if (begin > 0 && name[begin - 1] == '-' && (begin == 1 || name[begin - 2] == ' ')) --begin;
  char* end = nullptr;
  const double value = std::strtod(name.c_str() + begin, &end);
  return end == name.c_str() + name.size() ? std::optional(value) : std::nullopt;
}

std::vector<int32_t> ranks_of_numbers(const std::vector<std::string>& names) {
  std::vector<double> numbers;
  numbers.reserve(names.size());
  for (const std::string& name : names) {
    const std::optional<double> number = number_at_end(name);
    if (!number)
      fail_usage("--ordered numbers", "class names that are numbers or end in one", fmt::format("\"{}\"", name),
                 "Name the classes from the lowest to the highest: --ordered low,middle,high.");
    numbers.push_back(*number);
  }
  std::vector<size_t> sorted(names.size());
  std::iota(sorted.begin(), sorted.end(), size_t{0});
  std::ranges::sort(sorted, {}, [&](size_t c) { return numbers[c]; });
  std::vector<int32_t> ranks(names.size());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && numbers[sorted[i]] == numbers[sorted[i - 1]])
      fail_usage("--ordered numbers", "a number of its own for each class",
                 fmt::format("\"{}\" and \"{}\"", names[sorted[i - 1]], names[sorted[i]]),
                 "Name the classes from the lowest to the highest: --ordered low,middle,high.");
    ranks[sorted[i]] = static_cast<int32_t>(i);
  }
  return ranks;
}

std::vector<int32_t> ranks_as_listed(const std::vector<std::string>& names, const std::string& order) {
  std::vector<int32_t> ranks(names.size(), -1);
  int32_t next = 0;
  for (size_t begin = 0; begin <= order.size();) {
    const size_t end = std::min(order.find(',', begin), order.size());
    const std::string name = order.substr(begin, end - begin);
    begin = end + 1;
    const auto at = std::ranges::find(names, name);
    if (at == names.end()) {
      const std::string near = nearest_name(name, names);
      fail_usage("--ordered", fmt::format("the classes: {}", fmt::join(names, ", ")), fmt::format("\"{}\"", name),
                 near.empty() ? "Separate them by commas, the lowest first; or \"numbers\" where the names end in numbers."
                              : fmt::format("Did you mean {}?", near));
    }
    int32_t& rank = ranks[static_cast<size_t>(at - names.begin())];
    if (rank >= 0) fail_usage("--ordered", "each class once", fmt::format("\"{}\" twice", name), "Take one away.");
    rank = next++;
  }
  if (const auto missing = std::ranges::find(ranks, -1); missing != ranks.end())
    fail_usage("--ordered", "all classes, the lowest first", fmt::format("no \"{}\"", names[static_cast<size_t>(missing - ranks.begin())]),
               "Add it at its place.");
  return ranks;
}

}  // namespace

std::vector<int32_t> class_ranks(const std::vector<std::string>& names, const std::string& order) {
  if (names.size() < 3)
    fail_usage("--ordered", "at least three classes", std::to_string(names.size()), "Two classes have no distances: leave it out.");
  return order == "numbers" ? ranks_of_numbers(names) : ranks_as_listed(names, order);
}

std::array<double, kOrderedScores> ordered_scores(std::span<const int32_t> labels, std::span<const int32_t> answers,
                                                  std::span<const int32_t> ranks, std::span<const uint32_t> counts) {
  double n = 0, of_labels = 0, of_answers = 0, squares = 0, apart = 0, off = 0, near = 0;
  std::vector<double> distance(ranks.size()), images(ranks.size());
  for (size_t q = 0; q < labels.size(); ++q) {
    const double times = counts.empty() ? 1 : static_cast<double>(counts[q]);
    const auto label = static_cast<size_t>(labels[q]);
    const double a = ranks[label], b = ranks[static_cast<size_t>(answers[q])], d = std::abs(a - b);
    n += times;
    of_labels += times * a;
    of_answers += times * b;
    squares += times * (a * a + b * b);
    apart += times * d * d;
    off += times * d;
    near += d <= 1 ? times : 0;
    distance[label] += times * d;
    images[label] += times;
  }
  // the sum of squared distances if answers had nothing to do with labels
  const double by_chance = squares - 2 * of_labels * of_answers / n;
  double by_class = 0, classes = 0;
  for (size_t c = 0; c < images.size(); ++c) {
    if (images[c] == 0) continue;
    by_class += distance[c] / images[c];
    ++classes;
  }
  return {by_chance > 1e-9 * n ? 1 - apart / by_chance : kUndefined, off / n, by_class / classes, near / n};
}

void add_ordered_scores(const Resampler& resampler, std::span<const int32_t> labels, std::span<const int32_t> ranks,
                        std::span<const std::vector<int32_t>* const> predictions, std::span<json* const> scores, int threads,
                        Communicator& comm) {
  const auto methods = static_cast<int64_t>(predictions.size());
  const at::Tensor rows = run_tasks(comm, kResamples, methods * kOrderedScores, threads,
                                    [&](int64_t task, double* row) {
                                      const std::vector<uint32_t> counts = resampler.counts(task);
                                      for (int64_t m = 0; m < methods; ++m) {
                                        const auto values = ordered_scores(labels, *predictions[static_cast<size_t>(m)], ranks, counts);
                                        std::copy(values.begin(), values.end(), row + m * kOrderedScores);
                                      }
                                    })
                              .t()
                              .contiguous();
  for (size_t m = 0; m < predictions.size(); ++m) {
    const auto values = ordered_scores(labels, *predictions[m], ranks);
    json ordered = json::object(), intervals = json::object();
    for (size_t s = 0; s < kOrderedScores; ++s) {
      put(ordered, kOrderedNames[s], Stat::unless_nan(values[s], "labels and answers are all of one class"));
      const double* begin = rows.const_data_ptr<double>() + (m * kOrderedScores + s) * kResamples;
      put(intervals, kOrderedNames[s], percentile_interval(std::vector<double>(begin, begin + kResamples)));
    }
    ordered["bootstrap95"] = std::move(intervals);
    (*scores[m])["ordered"] = std::move(ordered);
  }
}

std::string ordered_table(const json& results) {
  std::string text;
  const auto number = [](const json& value) { return value.is_number() ? fmt::format("{:.3f}", value.get<double>()) : std::string("-"); };
  const auto line = [&](const std::string& protocol, const std::string& method, const std::string& features, const json& scores) {
    if (!scores.contains("ordered")) return;
    const json &of = scores["ordered"], &range = of["bootstrap95"]["quadratic_kappa"];
    if (text.empty()) {
      std::vector<std::string> order;
      for (const json& name : results["data"].value("order", json::array())) order.push_back(name.get<std::string>());
      text = fmt::format("ordered classes ({}): quadratic kappa with its bootstrap interval, errors in ranks, within one rank in %\n",
                         fmt::join(order, " < "));
      text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>16}{:>12}{:>16}{:>12}\n", "protocol", "method", "", "kappa", "95 %", "mean error",
                          "mean of classes", "within one");
    }
    text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>16}{:>12}{:>16}{:>12}\n", protocol, method, features, number(of["quadratic_kappa"]),
                        range.is_array() ? number(range[0]) + "-" + number(range[1]) : std::string("-"), number(of["mean_absolute_error"]),
                        number(of["class_mean_absolute_error"]), fmt::format("{:.2f}", 100 * of["within_one"].get<double>()));
  };
  line("", "majority class", "", results.value("majority", json::object()));
  for (const auto& [key, suite] : results["suites"].items())
    for (const json& result : suite["results"]) {
      const json methods = result.value("methods", json::object());
      for (const auto& [method, scores] : methods.items()) line(protocol_word(key), method, result["name"].get<std::string>(), scores);
    }
  return text;
}

}  // namespace dinoxx::eval
