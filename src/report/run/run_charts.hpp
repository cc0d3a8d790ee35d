#pragma once
#include "report/page/chart.hpp"
#include "run_record.hpp"

namespace dinoxx::report {

/// A logged column against epochs; without points when the run lacks it.
Series column_series(const RunRecord& run, const std::string& column, const std::string& name);
/// Figures beside each other; nothing when all are empty.
Html figures(const std::vector<Html>& figures);

}  // namespace dinoxx::report
