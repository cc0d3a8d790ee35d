#include "paired_methods.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "eval/run/method_scores.hpp"
#include "eval/statistics/multiple_tests.hpp"
#include "eval/statistics/resampling.hpp"
#include "results/verdict_order.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr size_t kMostRare = 10;
constexpr int kAccuracy = 0, kBalanced = 1;  // places in kResampledNames

struct Pair {
  size_t first, second;
};

// A method that all evaluations have, with the answers of each as numbers of classes.
struct Compared {
  std::string protocol, method;
  std::vector<std::vector<int32_t>> answers;  // per evaluation
};

// Class names to numbers: those of the data in their order, so that resamples are those of the evaluations; then any other.
class ClassNumbers {
 public:
  explicit ClassNumbers(const json& names) {
    if (!names.is_array()) return;
    for (const json& name : names) numbers_.try_emplace(name.is_string() ? name.get<std::string>() : "", next_++);
  }
  std::vector<int32_t> of(const std::vector<std::string>& names) {
    std::vector<int32_t> result;
    result.reserve(names.size());
    for (const std::string& name : names) {
      const auto [at, fresh] = numbers_.try_emplace(name, next_);
      next_ += fresh;
      result.push_back(at->second);
    }
    return result;
  }
  int count() const { return next_; }

 private:
  std::map<std::string, int32_t> numbers_;
  int32_t next_ = 0;
};

std::vector<Pair> all_pairs(size_t count) {
  std::vector<Pair> pairs;
  for (size_t a = 0; a < count; ++a)
    for (size_t b = a + 1; b < count; ++b) pairs.push_back({a, b});
  return pairs;
}

// Those that all evaluations have: in the order of verdicts, then by name.
std::vector<std::string> methods_of(std::span<const Evaluation> evaluations, const std::string& protocol) {
  std::vector<std::string> names;
  for (const auto& of_first : evaluations[0].answers.at(protocol).methods) {
    const std::string& method = of_first.first;
    const bool everywhere = std::all_of(evaluations.begin(), evaluations.end(),
                                        [&](const Evaluation& e) { return e.answers.at(protocol).methods.contains(method); });
    if (everywhere) names.push_back(method);
  }
  const auto place = [&](const std::string& method) {
    const auto found = std::find_if(kVerdictOrder.begin(), kVerdictOrder.end(),
                                    [&](const VerdictMethod& v) { return v.protocol == protocol && v.method == method; });
    return found - kVerdictOrder.begin();
  };
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) { return place(a) < place(b); });
  return names;
}

json scores_of(const Evaluation& evaluation, const Compared& compared) {
  const json& scores = member(member(evaluation.section(compared.protocol), "methods"), compared.method);
  json row = json::object();
  for (const char* key : {"count", "correct", "accuracy", "interval95", "balanced_accuracy", "macro_f1", "recall_few", "undefined"})
    if (const json& value = member(scores, key); !value.is_null()) row[key] = value;
  for (const char* key : {"accuracy", "balanced_accuracy"})
    if (!row.contains(key)) row[key] = nullptr;
  row["balanced95"] = member(member(scores, "bootstrap95"), "balanced_accuracy");
  if (const json& note = member(scores, "bootstrap95_note"); note.is_string()) row["balanced95_note"] = note;
  return row;
}

void put(json& row, const char* key, const std::optional<double>& value) {
  row[key] = value ? json(*value) : json(nullptr);
}

// p_holm beside the p of each row, over all of them.
void correct_all(const std::vector<json*>& rows) {
  std::vector<std::optional<double>> p;
  p.reserve(rows.size());
  for (const json* row : rows) p.push_back((*row)["p"].is_number() ? std::optional((*row)["p"].get<double>()) : std::nullopt);
  const std::vector<std::optional<double>> adjusted = holm(p);
  for (size_t i = 0; i < rows.size(); ++i) put(*rows[i], "p_holm", adjusted[i]);
}

std::string answer_of(const json& pair) {
  const auto significant = [&](const char* score) {
    const json& p = pair[score]["p_holm"];
    return p.is_number() && p.get<double>() < kTestLevel;
  };
  const bool balanced = significant("balanced_accuracy"), accuracy = significant("accuracy");
  if (!balanced && !accuracy) return "none";
  if (!balanced || !accuracy) return balanced ? "balanced_accuracy" : "accuracy";
  const bool first = pair["balanced_accuracy"]["difference"].get<double>() > 0;
  if (first != (pair["accuracy"]["difference"].get<double>() > 0)) return "opposite";
  return first ? "first" : "second";
}

// The tests of all pairs of one method. `resamples`(evaluation, score): values in all resamples.
json test_pairs(const json& scores, const Compared& compared, const std::vector<int32_t>& labels,
                const std::function<std::span<const double>(size_t evaluation, int score)>& resamples) {
  json pairs = json::array();
  for (const auto [first, second] : all_pairs(compared.answers.size())) {
    json row = {{"first", first}, {"second", second}};
    for (const auto& [score, place] : {std::pair("balanced_accuracy", kBalanced), std::pair("accuracy", kAccuracy)}) {
      json& own = row[score];
      const json &a = scores[first][score], &b = scores[second][score];
      if (!a.is_number() || !b.is_number()) {  // of one class alone no score tells anything
        own = {{"difference", nullptr}, {"interval95", nullptr}, {"p", nullptr}};
        continue;
      }
      const std::span<const double> of_first = resamples(first, place), of_second = resamples(second, place);
      std::vector<double> differences(of_first.size());
      for (size_t r = 0; r < differences.size(); ++r) differences[r] = of_first[r] - of_second[r];
      own["difference"] = a.get<double>() - b.get<double>();
      put(own, "p", bootstrap_p(differences));
      eval::put(own, "interval95", percentile_interval(std::move(differences)));
    }
    if (json& accuracy = row["accuracy"]; accuracy["difference"].is_number()) {
      const McNemar test = mcnemar(labels, compared.answers[first], compared.answers[second]);
      accuracy.update({{"only_first_right", test.only_first}, {"only_second_right", test.only_second}, {"p", test.p}});
    }
    pairs.push_back(std::move(row));
  }
  for (const char* score : {"balanced_accuracy", "accuracy"}) {
    std::vector<json*> rows;
    for (json& row : pairs) rows.push_back(&row[score]);
    correct_all(rows);
  }
  for (json& row : pairs) row["answer"] = answer_of(row);
  return pairs;
}

std::vector<size_t> by_balanced_accuracy(const json& scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto value = [&](size_t i) {
    const json& balanced = scores[i]["balanced_accuracy"];
    return balanced.is_number() ? balanced.get<double>() : -1;
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return value(a) > value(b); });
  return order;
}

// Right answers of each evaluation and the tests of all pairs, on some of the queries.
json test_some(const Compared& compared, const std::vector<int32_t>& labels, const std::vector<size_t>& some) {
  const auto chosen = [&](const std::vector<int32_t>& all) {
    std::vector<int32_t> values;
    values.reserve(some.size());
    for (const size_t q : some) values.push_back(all[q]);
    return values;
  };
  const std::vector<int32_t> truth = chosen(labels);
  std::vector<std::vector<int32_t>> answers;
  json row = {{"queries", some.size()}, {"correct", json::array()}, {"pairs", json::array()}};
  for (const std::vector<int32_t>& all : compared.answers) {
    answers.push_back(chosen(all));
    int64_t correct = 0;
    for (size_t i = 0; i < truth.size(); ++i) correct += answers.back()[i] == truth[i];
    row["correct"].push_back(correct);
  }
  for (const auto [first, second] : all_pairs(answers.size())) {
    const McNemar test = mcnemar(truth, answers[first], answers[second]);
    row["pairs"].push_back({{"first", first},
                            {"second", second},
                            {"only_first_right", test.only_first},
                            {"only_second_right", test.only_second},
                            {"p", test.p}});
  }
  return row;
}

json compare_classes(const Evaluation& evaluation, const Compared& compared, const std::vector<int32_t>& labels, ClassNumbers& numbers) {
  const json& table = member(member(member(evaluation.section(compared.protocol), "methods"), compared.method), "classes");
  if (!table.is_array()) return nullptr;
  std::map<int32_t, std::vector<size_t>> queries;
  for (size_t q = 0; q < labels.size(); ++q) queries[labels[q]].push_back(q);
  json rows = json::array();
  for (const json& of_class : table) {
    const json &name = member(of_class, "name"), &memory = member(of_class, "memory");
    if (!name.is_string()) continue;
    json row = test_some(compared, labels, queries[numbers.of({name.get<std::string>()}).front()]);
    row.update({{"name", name}, {"memory", memory.is_number() ? memory : json(0)}, {"rare", false}});
    rows.push_back(std::move(row));
  }
  std::vector<json> sorted(rows.begin(), rows.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const json& a, const json& b) { return a["memory"] < b["memory"]; });
  const auto tested = static_cast<size_t>(std::count_if(sorted.begin(), sorted.end(), [](const json& row) { return row["queries"] > 0; }));
  size_t rare = std::min(kMostRare, (tested + 2) / 3);
  std::vector<size_t> together;
  std::vector<json*> tests;
  json names = json::array();
  for (json& row : sorted) {
    if (rare == 0 || row["queries"] == 0) {
      row.erase("pairs");
      continue;
    }
    --rare;
    row["rare"] = true;
    names.push_back(row["name"]);
    for (json& pair : row["pairs"]) tests.push_back(&pair);
    const std::vector<size_t>& own = queries[numbers.of({row["name"].get<std::string>()}).front()];
    together.insert(together.end(), own.begin(), own.end());
  }
  correct_all(tests);
  json all = test_some(compared, labels, together);
  tests.clear();
  for (json& pair : all["pairs"]) tests.push_back(&pair);
  correct_all(tests);
  all["names"] = names;
  return {{"protocol", compared.protocol}, {"method", compared.method}, {"classes", sorted}, {"rare", all}};
}

// The method that a verdict speaks of; nullptr: none of that order was compared.
const Compared* chosen_by_order(const std::vector<Compared>& compared) {
  for (const VerdictMethod& wanted : kVerdictOrder)
    for (const Compared& method : compared)
      if (method.protocol == wanted.protocol && method.method == wanted.method) return &method;
  return nullptr;
}

}  // namespace

PairedMethods pair_methods(std::span<const Evaluation> evaluations, std::span<const std::string> protocols, uint64_t seed, int threads,
                           Communicator& comm) {
  PairedMethods result;
  const Evaluation& first = evaluations[0];
  ClassNumbers numbers(member(member(first.results, "data"), "classes"));
  std::vector<Compared> compared;
  std::vector<int32_t> labels;
  const RecordedAnswers* queries = nullptr;
  for (const std::string& protocol : protocols) {
    if (!std::all_of(evaluations.begin(), evaluations.end(), [&](const Evaluation& e) { return e.answers.contains(protocol); })) continue;
    queries = &first.answers.at(protocol);
    labels = numbers.of(queries->labels);
    for (const std::string& method : methods_of(evaluations, protocol)) {
      compared.push_back({protocol, method, {}});
      for (const Evaluation& evaluation : evaluations)
        compared.back().answers.push_back(numbers.of(evaluation.answers.at(protocol).methods.at(method)));
    }
  }
  if (compared.empty()) return result;
  std::vector<const std::vector<int32_t>*> predictions;
  for (const Compared& method : compared)
    for (const std::vector<int32_t>& answers : method.answers) predictions.push_back(&answers);
  const Resampler resampler(labels, queries->groups, numbers.count(), seed);
  const at::Tensor columns = resampled_columns(resampler, labels, predictions, numbers.count(), threads, comm);
  for (size_t m = 0; m < compared.size(); ++m) {
    json scores = json::array();
    for (const Evaluation& evaluation : evaluations) scores.push_back(scores_of(evaluation, compared[m]));
    const auto resamples = [&](size_t evaluation, int score) {
      const size_t place = (m * evaluations.size() + evaluation) * kResampledScores + static_cast<size_t>(score);
      return std::span<const double>(columns.const_data_ptr<double>() + place * kResamples, kResamples);
    };
    json row = {{"protocol", compared[m].protocol}, {"method", compared[m].method}, {"order", by_balanced_accuracy(scores)}};
    row["pairs"] = test_pairs(scores, compared[m], labels, resamples);
    row["scores"] = std::move(scores);
    result.methods.push_back(std::move(row));
  }
  if (const Compared* chosen = chosen_by_order(compared)) result.classes = compare_classes(first, *chosen, labels, numbers);
  const std::set<int32_t> tested(labels.begin(), labels.end());
  result.test = {
      {"images", labels.size()}, {"classes", tested.size()}, {"by_group", resampler.by_group()}, {"resamples", kResamples}, {"seed", seed}};
  const json& groups = member(member(first.results, "data"), "groups");
  if (resampler.by_group())
    result.notes.emplace_back(
        "the bootstrap draws whole groups of test images; McNemar's test takes all images for independent, so that its p may be too small");
  else if (groups.is_number() && groups > 0 && member(member(first.results, "run"), "embedders").is_null())
    result.notes.emplace_back(
        "the data have groups, but these evaluations are of a version that did not write them beside the answers: all tests take images "
        "for "
        "independent and may be too sure; evaluate again");
  return result;
}

}  // namespace dinoxx::eval
