#include "base/normalization.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "dinoxx/base/error.hpp"
#include "json_text.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;

std::string three(const std::array<float, 3>& values) {
  return fmt::format("{} {} {}", values[0], values[1], values[2]);
}

}  // namespace

Normalization::Normalization(const std::array<float, 3>& channel_mean, const std::array<float, 3>& channel_std)
    : mean(channel_mean), std(channel_std) {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(mean.begin(), mean.end(), finite))
    fail_usage("mean of the channels", "three finite numbers", three(mean), "Correct them.");
  if (!std::all_of(std.begin(), std.end(), [&](float value) { return finite(value) && value > 0; }))
    fail_usage("standard deviation of the channels", "three finite numbers above 0", three(std), "Correct them.");
}

Normalization imagenet_normalization() {
  return {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
}

std::string describe(const Normalization& normalization) {
  return fmt::format("mean {}, std {}", three(normalization.mean), three(normalization.std));
}

std::vector<double> decimals(const std::array<float, 3>& values) {
  std::vector<double> result;
  for (const float value : values) result.push_back(std::stod(fmt::format("{}", value)));
  return result;
}

std::string to_text(const Normalization& normalization) {
  return json_text({{"mean", decimals(normalization.mean)}, {"std", decimals(normalization.std)}});
}

Normalization parse_normalization(const std::string& text, const std::string& where) {
  try {
    const json stored = json::parse(text);
    return {stored.at("mean").get<std::array<float, 3>>(), stored.at("std").get<std::array<float, 3>>()};
  } catch (const json::exception&) {
  } catch (const UsageError&) {
  }
  fail(fmt::format("{} in {}", kNormalizationKey, where), "{\"mean\": [3 numbers], \"std\": [3 numbers above 0]}", text,
       "The file is damaged or was written by another program.");
}

}  // namespace dinoxx
