#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

/// Whether features differ in a figure that is not a list of predictions: its values in the same resamples of the same images.
namespace dinoxx::eval {

/// A figure of one embedder in each resample; NaN where it is undefined. Embedders are resampled alike: value i belongs to one draw.
struct ResampledFigure {
  std::string name;
  double value = 0;
  std::vector<double> values;
};

/// The first embedder against each other one, figure by figure: [{figure, first, second, difference, interval95}]: percentile interval of
/// the differences. What is undefined is null, with the reason under "undefined".
nlohmann::json paired_differences(std::span<const std::string> embedders, std::span<const std::vector<ResampledFigure>> figures);
/// For the terminal, in %.
std::string paired_lines(const nlohmann::json& differences);

}  // namespace dinoxx::eval
