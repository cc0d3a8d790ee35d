#pragma once
#include <string>
#include <vector>

#include "run_record.hpp"

/// Figures of a run as text, for tables of every form; and tolerant reading of records.
namespace dinoxx::report {

/// object[key] as a number; NaN when it is none or not there.
double number_of(const nlohmann::json& object, const char* key);
/// NaN for anything that is not a number.
double number_or_nan(const nlohmann::json& value);
/// object[key] as text; "" when it is none or not there.
std::string text_of(const nlohmann::json& object, const char* key);

std::string grouped(int64_t number);               ///< 1,234,567
std::string figure(double value, int digits = 4);  ///< significant digits; "-" for NaN
std::string percent(double share);                 ///< two decimals; "-" for NaN
std::string duration(double seconds);              ///< "45 s", "12 min", "3.4 h", "2.1 d"; "-" for NaN

std::string backbone_text(const Config& config);  ///< vit_tiny/8, 192 x 4 blocks

struct Figure {
  std::string name, value;
  bool number = true;  ///< aligned to the right
};
/// Method, backbone, images seen, how far it is, ... : the same names in the same order for every run.
std::vector<Figure> run_figures(const RunRecord& run);

/// Monitors that tell a collapse, when a run has them: column of metrics.jsonl and its heading.
struct Monitor {
  const char* column;
  const char* heading;
};
inline constexpr Monitor kMonitors[] = {
    {"feature_deviation", "deviation"}, {"effective_rank", "eff. rank"}, {"prototype_perplexity", "perplexity"}};

}  // namespace dinoxx::report
