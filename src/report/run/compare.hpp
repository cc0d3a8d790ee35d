#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "run_record.hpp"

namespace dinoxx::report {

/// Mean and spread of a figure over the runs of a group.
struct Spread {
  int64_t runs = 0;
  double mean = 0, min = 0, max = 0;
  std::optional<double> deviation;  ///< standard deviation (n - 1), from three runs on
};
/// Of the values that are numbers; nullopt when none is.
std::optional<Spread> spread_of(const std::vector<double>& values);

/// Runs of one configuration that differ in train.seed alone, on the same data.
struct RunGroup {
  std::string name;
  std::vector<size_t> runs;  ///< places in Comparison::runs
};

/// Scores after the same number of images.
struct CurvePoint {
  int64_t images = 0;                                     ///< seen; of runs whose batches differ, to one batch
  double epoch = 0;                                       ///< of the first run that was evaluated there
  std::vector<std::optional<Spread>> accuracy, balanced;  ///< per group; nothing where it was not evaluated
};

struct Comparison {
  std::vector<RunRecord> runs;
  std::vector<std::string> names;                ///< of the runs, each another
  std::vector<RunGroup> groups;                  ///< in the order of their first run
  std::vector<CurvePoint> curve;                 ///< rising
  std::optional<size_t> common;                  ///< the last place of `curve` at which all groups that were evaluated at all have a score
  std::vector<std::string> differing;            ///< training keys that are not equal in all runs
  std::vector<std::vector<std::string>> values;  ///< [differing][run], as in a file
  std::vector<std::string> notes;                ///< what a reader of the numbers must know
};

/// Reads the runs and puts them side by side: k-NN scores by images seen, seeds together, keys that differ. Runs that still go on are
/// compared as far as they are. UsageError for a folder that is not a run, or for no folder at all.
Comparison compare_runs(const std::vector<std::filesystem::path>& folders);

/// Tables for a terminal.
std::string comparison_text(const Comparison& comparison);
/// One line per run and evaluation; runs without an evaluation have one line.
std::string comparison_csv(const Comparison& comparison);

}  // namespace dinoxx::report
