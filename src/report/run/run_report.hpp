#pragma once
#include <filesystem>
#include <string>

#include "compare.hpp"
#include "run_record.hpp"

namespace dinoxx::report {

/// A page on one training run, also while it goes on: loss and its terms, schedules, monitors, throughput, k-NN over time, configuration,
/// where it came from. Stands alone: no script, no resource from anywhere.
std::string run_report_html(const RunRecord& run);

/// Reads the run folder, writes report.html into it (by rename) and returns its path. UsageError when it is no run folder.
std::filesystem::path write_run_report(const std::filesystem::path& run_folder);

/// The tables of comparison_text() with charts.
std::string comparison_html(const Comparison& comparison);

}  // namespace dinoxx::report
