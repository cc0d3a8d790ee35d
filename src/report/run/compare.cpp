#include "compare.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/text/distinct_names.hpp"
#include "config/config_fields.hpp"
#include "dinoxx/base/error.hpp"
#include "run_figures.hpp"
#include "train/training_config.hpp"

namespace dinoxx::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string fingerprint(const RunRecord& run) {
  return run.starts.empty() ? std::string() : text_of(run.starts.back(), "fingerprint");
}

// What is equal in runs that differ in the seed alone.
std::string identity_without_seed(const RunRecord& run) {
  if (!run.config) return "";
  Config config = *run.config;
  config.train->seed = 0;
  return training_identity(config) + fingerprint(run);
}

std::vector<RunGroup> group_runs(const Comparison& c) {
  std::vector<RunGroup> groups;
  std::vector<std::string> identities;
  for (size_t r = 0; r < c.runs.size(); ++r) {
    const std::string identity = identity_without_seed(c.runs[r]);
    const auto found = std::find(identities.begin(), identities.end(), identity);
    if (identity.empty() || found == identities.end()) {
      identities.push_back(identity);
      groups.push_back({c.names[r], {r}});
    } else {
      groups[static_cast<size_t>(found - identities.begin())].runs.push_back(r);
    }
  }
  for (RunGroup& group : groups)
    if (group.runs.size() > 1) group.name = fmt::format("{} ({} seeds)", group.name, group.runs.size());
  return groups;
}

struct Score {
  int64_t images;
  double epoch, accuracy, balanced;
};

std::vector<Score> scores_of(const RunRecord& run) {
  std::vector<Score> scores;
  for (const json& record : run.evals) {
    const json& eval = record["eval"];
    const double accuracy = number_of(eval, "accuracy");
    if (std::isnan(accuracy)) continue;
    scores.push_back({run.images_seen(static_cast<int64_t>(number_of(record, "step"))), number_of(record, "epoch"), accuracy,
                      number_of(eval, "balanced_accuracy")});
  }
  return scores;
}

// "Every 2 epochs" falls due with the first batch that completes them, so that runs with another batch are a few images further:
// evaluations closer than a batch, of different runs, are one point.
std::vector<CurvePoint> align(const Comparison& c) {
  struct Entry {
    Score score;
    size_t group, run;
  };
  std::vector<Entry> entries;
  int64_t largest_batch = 1;
  for (size_t g = 0; g < c.groups.size(); ++g) {
    for (const size_t r : c.groups[g].runs) {
      for (const Score& score : scores_of(c.runs[r])) entries.push_back({score, g, r});
      largest_batch = std::max(largest_batch, c.runs[r].batch());
    }
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.score.images < b.score.images; });
  std::vector<CurvePoint> curve;
  for (size_t begin = 0; begin < entries.size();) {
    std::set<size_t> runs;
    size_t end = begin;
    while (end < entries.size() && entries[end].score.images - entries[begin].score.images < largest_batch &&
           runs.insert(entries[end].run).second)
      ++end;
    CurvePoint point{entries[begin].score.images, entries[begin].score.epoch, {}, {}};
    for (size_t g = 0; g < c.groups.size(); ++g) {
      std::vector<double> accuracy, balanced;
      for (size_t e = begin; e < end; ++e) {
        if (entries[e].group != g) continue;
        accuracy.push_back(entries[e].score.accuracy);
        balanced.push_back(entries[e].score.balanced);
      }
      point.accuracy.push_back(spread_of(accuracy));
      point.balanced.push_back(spread_of(balanced));
    }
    curve.push_back(std::move(point));
    begin = end;
  }
  return curve;
}

std::optional<size_t> last_common(const Comparison& c) {
  std::vector<bool> evaluated(c.groups.size());
  for (const CurvePoint& point : c.curve)
    for (size_t g = 0; g < c.groups.size(); ++g) evaluated[g] = evaluated[g] || point.accuracy[g];
  for (size_t i = c.curve.size(); i-- > 0;) {
    bool all = true;
    for (size_t g = 0; g < c.groups.size(); ++g) {
      if (!evaluated[g]) continue;
      // of several seeds all that were evaluated at all, else the mean would be of other runs
      size_t runs = 0;
      for (const size_t r : c.groups[g].runs) runs += !scores_of(c.runs[r]).empty();
      all &= c.curve[i].accuracy[g] && static_cast<size_t>(c.curve[i].accuracy[g]->runs) == runs;
    }
    if (all) return i;
  }
  return std::nullopt;
}

void find_differences(Comparison& c) {
  for (const Field& field : config_fields()) {
    if (!field.training) continue;
    std::vector<std::string> values;
    std::set<std::string> distinct;
    for (const RunRecord& run : c.runs) {
      const bool known = run.config && !run.absent_keys.contains(field.key);
      values.push_back(known ? field.get(*run.config) : "?");
      if (known) distinct.insert(values.back());
    }
    if (distinct.size() < 2) continue;
    c.differing.push_back(field.key);
    c.values.push_back(std::move(values));
  }
}

void take_notes(Comparison& c) {
  std::set<std::string> data, ks, queries;
  for (size_t r = 0; r < c.runs.size(); ++r) {
    const RunRecord& run = c.runs[r];
    for (const std::string& note : run.notes) c.notes.push_back(c.names[r] + ": " + note);
    if (!fingerprint(run).empty()) data.insert(fingerprint(run));
    int64_t failed = 0;
    for (const json& record : run.evals) {
      const json& eval = record["eval"];
      failed += eval.is_object() && eval.contains("error");
      if (const double k = number_of(eval, "k"); !std::isnan(k)) ks.insert(fmt::format("{:.0f}", k));
      if (const std::string from = text_of(eval, "queries"); !from.empty()) queries.insert(from);
    }
    if (run.evals.empty()) {
      c.notes.push_back(c.names[r] + ": no evaluation yet (eval.every)");
    } else if (failed > 0) {
      c.notes.push_back(fmt::format("{}: {} of {} evaluations failed", c.names[r], failed, run.evals.size()));
    }
    int64_t skipped = 0;
    for (const json& event : run.events) {
      if (text_of(event, "event") == "skipped") ++skipped;
      if (text_of(event, "event") == "forgetting")
        c.notes.push_back(fmt::format("{}: accuracy alarm at step {:.0f}: {:.2f} %, at the start {:.2f} %", c.names[r],
                                      number_of(event, "step"), 100 * number_of(event, "accuracy"), 100 * number_of(event, "at_start")));
      if (text_of(event, "event") == "collapse")
        c.notes.push_back(fmt::format("{}: collapse alarm at step {:.0f}", c.names[r], number_of(event, "step")));
    }
    if (skipped > 0)
      c.notes.push_back(fmt::format("{}: {} steps skipped: their loss was not finite (NaN or infinity)", c.names[r], skipped));
  }
  if (data.size() > 1)
    c.notes.push_back(fmt::format("the runs use {} different data sets: their accuracies cannot be compared", data.size()));
  if (ks.size() > 1) c.notes.push_back(fmt::format("the runs' k-NN accuracies use different k: {}", fmt::join(ks, ", ")));
  if (queries.size() > 1) c.notes.push_back(fmt::format("the runs' k-NN queries differ: {}", fmt::join(queries, "; ")));
}

}  // namespace

std::optional<Spread> spread_of(const std::vector<double>& values) {
  std::vector<double> numbers;
  std::copy_if(values.begin(), values.end(), std::back_inserter(numbers), [](double v) { return !std::isnan(v); });
  if (numbers.empty()) return std::nullopt;
  Spread spread;
  const auto n = static_cast<double>(numbers.size());
  spread.runs = static_cast<int64_t>(numbers.size());
  for (const double v : numbers) spread.mean += v / n;
  const auto [min, max] = std::minmax_element(numbers.begin(), numbers.end());
  spread.min = *min;
  spread.max = *max;
  if (numbers.size() >= 3) {
    double squares = 0;
    for (const double v : numbers) squares += (v - spread.mean) * (v - spread.mean);
    spread.deviation = std::sqrt(squares / (n - 1));
  }
  return spread;
}

Comparison compare_runs(const std::vector<fs::path>& folders) {
  if (folders.empty()) fail_usage("dinoxx compare", "run folders", "none", "Name the --out of one or more dinoxx train.");
  Comparison c;
  for (const fs::path& folder : folders) c.runs.push_back(read_run(folder));
  c.names = distinct_names(folders);
  c.groups = group_runs(c);
  c.curve = align(c);
  c.common = last_common(c);
  find_differences(c);
  take_notes(c);
  return c;
}

}  // namespace dinoxx::report
