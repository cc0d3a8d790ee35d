#include "duration.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <stdexcept>

namespace dinoxx {
namespace {

// Takes a number >= 0 from the front of `text`.
bool take_number(std::string_view& text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value) || value < 0) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

}  // namespace

Duration Duration::parse(std::string_view text) {
  Duration duration;
  std::string_view rest = text;
  const bool number = take_number(rest, duration.value);
  if (number && rest == "ep") {
    duration.unit = Unit::kEpochs;
    return duration;
  }
  const bool whole = number && duration.value == std::floor(duration.value) && duration.value < 1e15;
  if (whole && rest == "it") return duration;
  if (whole && rest == "samples") {
    duration.unit = Unit::kSamples;
    return duration;
  }
  if (number && rest.empty() && duration.value == 0) return duration;
  throw std::invalid_argument("a duration such as 10ep (epochs), 5000it (steps) or 64000samples (images)");
}

std::string Duration::text() const {
  if (unit == Unit::kEpochs) return fmt::format("{}ep", value);
  return fmt::format("{}{}", static_cast<int64_t>(value), unit == Unit::kSteps ? "it" : "samples");
}

int64_t Duration::steps(uint64_t images, int64_t global_batch) const {
  if (unit == Unit::kSteps) return static_cast<int64_t>(value);
  if (unit == Unit::kSamples) return static_cast<int64_t>(value) / global_batch;
  // the small addition: 0.1 * 50000 / 50 must be 100 although 0.1 is no binary fraction
  return static_cast<int64_t>(std::floor(value * static_cast<double>(images) / static_cast<double>(global_batch) + 1e-9));
}

bool Duration::ends_with(int64_t step, uint64_t images, int64_t global_batch) const {
  if (step <= 0 || value <= 0) return false;
  if (unit == Unit::kSteps) return step % static_cast<int64_t>(value) == 0;
  const double batch = static_cast<double>(global_batch), period = unit == Unit::kSamples ? value : value * static_cast<double>(images);
  const auto periods = [&](int64_t n) { return std::floor(static_cast<double>(n) * batch / period + 1e-9); };
  return periods(step) > periods(step - 1);
}

double parse_wall_time(std::string_view text) {
  double seconds = 0;
  std::string_view rest = text;
  bool any = false;
  while (!rest.empty()) {
    double value = 0;
    if (!take_number(rest, value)) break;
    double unit = 1;
    if (!rest.empty()) {
      if (rest.front() == 'h')
        unit = 3600;
      else if (rest.front() == 'm')
        unit = 60;
      else if (rest.front() != 's')
        break;
      rest.remove_prefix(1);
    }
    seconds += value * unit;
    any = true;
  }
  if (!any || !rest.empty()) throw std::invalid_argument("a time such as 11h, 90m, 1h30m or 300s");
  return seconds;
}

}  // namespace dinoxx
