#include "decision_request.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "threshold.hpp"

namespace dinoxx::eval {
namespace {

constexpr const char* kRecall = "--recall";
constexpr const char* kConfidence = "--recall-confidence";
constexpr const char* kCost = "--cost";
constexpr const char* kEvery = "*";

using Names = std::vector<std::string>;

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<size_t> place_of(const Names& classes, const std::string& name) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  return found == classes.end() ? std::nullopt : std::optional(static_cast<size_t>(found - classes.begin()));
}

size_t class_called(const Names& classes, const std::string& name, const std::string& where) {
  if (const auto place = place_of(classes, name)) return *place;
  const std::string near = nearest_name(name, classes);
  fail_usage(where, fmt::format("one of the classes {}", fmt::join(classes, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? "Write the name as the data has it." : fmt::format("Did you mean \"{}\"?", near));
}

double cost_in(const std::string& text, const std::string& where) {
  const std::optional<double> cost = number_in(text);
  if (!cost || *cost < 0) fail_usage(where, "a cost: a number, 0 or more", fmt::format("\"{}\"", text), "Correct it.");
  return *cost;
}

void plan_recall(const DecisionRequest& request, const Names& classes, std::span<const int64_t> training_images,
                 std::span<const int64_t> tried, DecisionPlan& plan) {
  if (request.recalls.size() > 1)
    fail_usage(
        kRecall, "one class", fmt::format("{}: {}", request.recalls.size(), fmt::join(request.recalls, ", ")),
        "Each threshold would take images from the other class, and neither recall would hold. Say by --cost what each miss is worth.");
  const std::string& typed = request.recalls.front();
  const size_t equals = typed.rfind('=');
  if (equals == std::string::npos || equals == 0)
    fail_usage(kRecall, "CLASS=SHARE, for example melanoma=0.95", fmt::format("\"{}\"", typed), "Name the class and its recall.");
  const std::string name = typed.substr(0, equals), share = typed.substr(equals + 1);
  const size_t positive = class_called(classes, name, kRecall);
  const std::optional<double> recall = number_in(share);
  if (!recall || !(*recall > 0 && *recall < 1))
    fail_usage(kRecall, "a share above 0 and below 1", fmt::format("\"{}\"", share),
               recall && *recall > 1 && *recall < 100
                   ? fmt::format("{:g} % is {:g}.", *recall, *recall / 100)
                   : "All images of a class are found for certain only where every image is answered so.");
  const int64_t images = tried[positive];
  if (training_images[positive] == 0)
    fail_usage(kRecall, "a class that is learned", fmt::format("\"{}\" without training images", name), "It is never predicted.");
  if (images == 0)
    fail_usage(kRecall, fmt::format("images of \"{}\" to choose a threshold on", name), "none",
               "Give it images in val, or two training images that are not of one group.");
  if (request.confidence && !images_to_find(images, *recall, request.confidence))
    fail_usage(kConfidence,
               fmt::format("at least {} images of \"{}\" to choose on: fewer cannot show a recall of {:g} with confidence {:g}",
                           images_to_show(*recall, *request.confidence), name, *recall, *request.confidence),
               fmt::format("{}", images),
               fmt::format("Ask for a recall of {:.3f} or less, or leave {} out.",
                           std::floor(1000 * recall_at_least(images, images, *request.confidence)) / 1000, kConfidence));
  plan.positive = static_cast<int32_t>(positive);
  plan.recall = *recall;
  plan.confidence = request.confidence;
}

// "A>B=10" into the matrix; a name may hold any of these signs.
void set_pair(const std::string& typed, const Names& classes, std::vector<double>& costs) {
  const size_t equals = typed.rfind('=');
  if (equals == std::string::npos)
    fail_usage(kCost, "TRUE>ANSWER=COST, for example \"melanoma>naevus=10\", or a FILE.csv", fmt::format("\"{}\"", typed),
               "Put a pair in quotes: the shell takes > for itself.");
  const std::string pair = typed.substr(0, equals);
  const double cost = cost_in(typed.substr(equals + 1), kCost);
  const auto known = [&](const std::string& name) { return name == kEvery || place_of(classes, name); };
  size_t sign = std::string::npos;
  for (size_t at = pair.find('>'); at != std::string::npos && sign == std::string::npos; at = pair.find('>', at + 1))
    if (known(pair.substr(0, at)) && known(pair.substr(at + 1))) sign = at;
  if (sign == std::string::npos) {  // which of the two names nobody knows
    const size_t first = pair.find('>');
    if (first == std::string::npos)
      fail_usage(kCost, "two classes with > between them", fmt::format("\"{}\"", pair), "Write TRUE>ANSWER=COST, in quotes.");
    for (const std::string& name : {pair.substr(0, first), pair.substr(first + 1)})
      if (!known(name)) class_called(classes, name, kCost);
  }
  const std::string truth = pair.substr(0, sign), answer = pair.substr(sign + 1);
  if (truth == answer && truth != kEvery)
    fail_usage(kCost, "two classes that differ", fmt::format("\"{}\"", pair),
               "The right answer costs nothing; a FILE.csv can say otherwise.");
  for (size_t t = 0; t < classes.size(); ++t)
    for (size_t a = 0; a < classes.size(); ++a)
      if (t != a && (truth == kEvery || classes[t] == truth) && (answer == kEvery || classes[a] == answer))
        costs[t * classes.size() + a] = cost;
}

std::vector<double> costs_of_file(const std::string& path, const Names& classes) {
  const CsvTable table = parse_csv(read_text(path), path);
  const auto missing = [&](const Names& there) {
    Names without;
    for (const std::string& name : classes)
      if (std::find(there.begin(), there.end(), name) == there.end()) without.push_back(name);
    return without;
  };
  if (table.rows.empty()) fail_usage(path, "a header with the names of the answers", "an empty file", "See \"dinoxx predict --help\".");
  const Names header(table.rows[0].begin() + 1, table.rows[0].end());
  Names truths;
  std::vector<size_t> columns;
  const auto once = [&](const Names& names, const std::string& name, const std::string& where) {
    if (std::count(names.begin(), names.end(), name) > 1)
      fail_usage(where, "each class once", fmt::format("\"{}\" again", name), "Take one out.");
  };
  for (const std::string& name : header) {
    columns.push_back(class_called(classes, name, path + ", line 1"));
    once(header, name, path + ", line 1");
  }
  if (const Names without = missing(header); !without.empty())
    fail_usage(path + ", line 1", "every class among the answers", fmt::format("none for {}", fmt::join(without, ", ")),
               "Add a column for each.");
  std::vector<double> costs(classes.size() * classes.size());
  for (size_t r = 1; r < table.rows.size(); ++r) {
    const std::vector<std::string>& row = table.rows[r];
    const std::string where = fmt::format("{}, line {}", path, table.line[r]);
    if (row.size() != header.size() + 1)
      fail_usage(where, fmt::format("{} fields", header.size() + 1), std::to_string(row.size()),
                 "Give a class and a cost for each answer.");
    const size_t truth = class_called(classes, row[0], where);
    truths.push_back(row[0]);
    once(truths, row[0], where);
    for (size_t a = 0; a < columns.size(); ++a) costs[truth * classes.size() + columns[a]] = cost_in(row[a + 1], where);
  }
  if (const Names without = missing(truths); !without.empty())
    fail_usage(path, "a line for every class", fmt::format("none for {}", fmt::join(without, ", ")), "Add a line for each.");
  return costs;
}

std::vector<double> plan_costs(const std::vector<std::string>& typed, const Names& classes) {
  const size_t n = classes.size();
  std::vector<double> costs(n * n, 1.0);
  for (size_t c = 0; c < n; ++c) costs[c * n + c] = 0;
  if (typed.size() == 1 && typed.front().ends_with(".csv")) {
    costs = costs_of_file(typed.front(), classes);
  } else {
    for (const std::string& pair : typed) {
      if (pair.ends_with(".csv"))
        fail_usage(kCost, "one FILE.csv, or pairs", fmt::format("\"{}\" among others", pair), "Use one of the two.");
      set_pair(pair, classes, costs);
    }
  }
  if (std::all_of(costs.begin(), costs.end(), [](double cost) { return cost == 0; }))
    fail_usage(kCost, "a cost above 0", "all of them 0", "With no cost every answer is as good as another.");
  return costs;
}

}  // namespace

std::optional<DecisionPlan> plan_decision(const DecisionRequest& request, const Names& classes, std::span<const int64_t> training_images,
                                          std::span<const int64_t> tried) {
  if (request.empty()) return std::nullopt;
  if (!request.recalls.empty() && !request.costs.empty())
    fail_usage(kRecall, fmt::format("{} or {}", kRecall, kCost), "both",
               "Each of them decides alone. A high cost of missing a class raises its recall, too.");
  if (request.confidence && request.recalls.empty())
    fail_usage(kConfidence, fmt::format("{} beside it", kRecall), "none", "Name the class.");
  if (request.confidence && !(*request.confidence > 0 && *request.confidence < 1))
    fail_usage(kConfidence, "above 0 and below 1", fmt::format("{:g}", *request.confidence), "0.95 is usual.");
  DecisionPlan plan;
  if (!request.costs.empty())
    plan.costs = plan_costs(request.costs, classes);
  else
    plan_recall(request, classes, training_images, tried, plan);
  return plan;
}

}  // namespace dinoxx::eval
