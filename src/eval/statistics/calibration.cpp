#include "calibration.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// d/d beta of the mean of -log softmax(beta * logits)[label]: mean of E_p[logit] - logit[label].
double slope(std::span<const int32_t> labels, std::span<const double> logits, int classes, double beta) {
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const double* row = logits.data() + i * classes;
    if (std::isinf(row[labels[i]])) continue;
    const double top = *std::max_element(row, row + classes);
    double total = 0, weighted = 0;
    for (int c = 0; c < classes; ++c) {
      if (std::isinf(row[c])) continue;
      const double p = std::exp(beta * (row[c] - top));
      total += p;
      weighted += p * (row[c] - top);
    }
    sum += weighted / total - (row[labels[i]] - top);
  }
  return sum;
}

// Rows binned by `confidence`; accuracy is the share of those that are `right`.
std::vector<ReliabilityBin> fill_bins(std::span<const double> confidence, std::span<const uint8_t> right, Binning binning, int bins) {
  const size_t n = confidence.size();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return confidence[a] < confidence[b]; });
  std::vector<ReliabilityBin> result(bins);
  size_t mass_bin = 0;
  for (size_t place = 0; place < n; ++place) {
    const size_t i = order[place];
    size_t bin;
    if (binning == Binning::kEqualMass) {
      while (place >= (mass_bin + 1) * n / bins) ++mass_bin;
      bin = mass_bin;
    } else {
      bin = static_cast<size_t>(std::clamp<double>(std::ceil(confidence[i] * bins) - 1, 0, bins - 1));
    }
    ++result[bin].count;
    result[bin].confidence += confidence[i];
    result[bin].accuracy += right[i];
  }
  for (ReliabilityBin& bin : result) {
    if (bin.count == 0) continue;
    bin.confidence /= static_cast<double>(bin.count);
    bin.accuracy /= static_cast<double>(bin.count);
  }
  return result;
}

json figures_of(const Calibration& calibration) {
  json result = json::object();
  put(result, "ece_equal_mass", calibration.ece_mass);
  put(result, "ece_equal_width", calibration.ece_width);
  put(result, "classwise_ece_equal_mass", calibration.classwise_mass);
  put(result, "classwise_ece_equal_width", calibration.classwise_width);
  put(result, "nll", calibration.nll);
  put(result, "brier", calibration.brier);
  return result;
}

json bins_of(const std::vector<ReliabilityBin>& bins) {
  json result = json::array();
  for (const ReliabilityBin& bin : bins) {
    if (bin.count > 0) result.push_back({{"images", bin.count}, {"confidence", bin.confidence}, {"accuracy", bin.accuracy}});
  }
  return result;
}

}  // namespace

std::vector<double> softmax_rows(std::span<const double> logits, int classes, double temperature) {
  std::vector<double> result(logits.size());
  for (size_t begin = 0; begin < logits.size(); begin += classes) {
    const double* row = logits.data() + begin;
    const double top = *std::max_element(row, row + classes);
    double total = 0;
    for (int c = 0; c < classes; ++c) total += result[begin + c] = std::exp((row[c] - top) / temperature);
    for (int c = 0; c < classes; ++c) result[begin + c] /= total;
  }
  return result;
}

std::vector<ReliabilityBin> reliability(std::span<const int32_t> labels, std::span<const double> probabilities, int classes,
                                        Binning binning, int bins) {
  const size_t n = labels.size();
  std::vector<double> confidence(n);
  std::vector<uint8_t> right(n);
  for (size_t i = 0; i < n; ++i) {
    const auto row = probabilities.subspan(i * classes, classes);
    const auto best = std::max_element(row.begin(), row.end());
    confidence[i] = *best;
    right[i] = best - row.begin() == labels[i];
  }
  return fill_bins(confidence, right, binning, bins);
}

double classwise_calibration_error(std::span<const int32_t> labels, std::span<const double> probabilities, int classes, Binning binning,
                                   int bins) {
  const size_t n = labels.size();
  std::vector<double> probability(n);
  std::vector<uint8_t> is_class(n);
  double sum = 0;
  for (int c = 0; c < classes; ++c) {
    for (size_t i = 0; i < n; ++i) {
      probability[i] = probabilities[i * classes + c];
      is_class[i] = labels[i] == c;
    }
    sum += calibration_error(fill_bins(probability, is_class, binning, bins));
  }
  return sum / classes;
}

double calibration_error(const std::vector<ReliabilityBin>& bins) {
  double sum = 0, n = 0;
  for (const ReliabilityBin& bin : bins) {
    sum += static_cast<double>(bin.count) * std::abs(bin.accuracy - bin.confidence);
    n += static_cast<double>(bin.count);
  }
  return sum / n;
}

Calibration calibrate(std::span<const int32_t> labels, std::span<const double> probabilities, int classes) {
  if (labels.empty()) {
    const Stat none = Stat::undefined("no test images");
    return {none, none, none, none, none, none};
  }
  double nll = 0, brier = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const double* row = probabilities.data() + i * classes;
    nll -= std::log(row[labels[i]]);
    for (int c = 0; c < classes; ++c) brier += (row[c] - (c == labels[i] ? 1.0 : 0.0)) * (row[c] - (c == labels[i] ? 1.0 : 0.0));
  }
  const double n = static_cast<double>(labels.size());
  Calibration result;
  result.ece_mass = Stat::of(calibration_error(reliability(labels, probabilities, classes, Binning::kEqualMass)));
  result.ece_width = Stat::of(calibration_error(reliability(labels, probabilities, classes, Binning::kEqualWidth)));
  result.classwise_mass = Stat::of(classwise_calibration_error(labels, probabilities, classes, Binning::kEqualMass));
  result.classwise_width = Stat::of(classwise_calibration_error(labels, probabilities, classes, Binning::kEqualWidth));
  result.nll = std::isfinite(nll) ? Stat::of(nll / n)
                                  : Stat::undefined("a test image has probability 0 for its true class (no training image of that class?)");
  result.brier = Stat::of(brier / n);
  return result;
}

json describe_calibration(std::span<const int32_t> labels, std::span<const double> before, std::span<const double> after,
                          const Stat& temperature, int classes) {
  json result = {{"before", figures_of(calibrate(labels, before, classes))},
                 {"reliability", bins_of(reliability(labels, before, classes, Binning::kEqualMass))}};
  if (temperature.value) {
    result["after"] = figures_of(calibrate(labels, after, classes));
    result["reliability_after"] = bins_of(reliability(labels, after, classes, Binning::kEqualMass));
  } else {
    put(result, "after", temperature);
  }
  return result;
}

Stat fit_temperature(std::span<const int32_t> labels, std::span<const double> logits, int classes) {
  size_t usable = 0;
  for (size_t i = 0; i < labels.size(); ++i) usable += std::isinf(logits[i * classes + labels[i]]) ? 0 : 1;
  if (usable == 0) return Stat::undefined("no image to fit it on");
  double low = 0.01, high = 100;  // of beta = 1 / T
  if (slope(labels, logits, classes, low) >= 0)
    return Stat::undefined("the logits are no better than chance: the temperature is unbounded");
  if (slope(labels, logits, classes, high) <= 0)
    return Stat::undefined("all images that it is fitted on are classified correctly: the best temperature is 0");
  for (int i = 0; i < 80 && low < high; ++i) {
    const double middle = 0.5 * (low + high);
    (slope(labels, logits, classes, middle) < 0 ? low : high) = middle;
  }
  return Stat::of(2 / (low + high));
}

}  // namespace dinoxx::eval
