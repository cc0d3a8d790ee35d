#include "schedule.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

// numpy.linspace(start, end, count)[i]: both ends included, the last one exactly; a single value is the start.
double linspace(double start, double end, int64_t count, int64_t i) {
  if (count == 1) return start;
  if (i == count - 1) return end;
  return start + static_cast<double>(i) * ((end - start) / static_cast<double>(count - 1));
}

}  // namespace

double CosineSchedule::at(int64_t step) const {
  if (step < 0) step = 0;
  if (step < warmup && step < total) return linspace(start, base, warmup, step);
  if (step >= total) return final;
  const double i = static_cast<double>(step - warmup), n = static_cast<double>(total - warmup);
  return final + 0.5 * (base - final) * (1.0 + std::cos(std::numbers::pi * i / n));
}

double TemperatureSchedule::at(int64_t epoch_or_step) const {
  const int64_t i = std::max<int64_t>(epoch_or_step, 0);
  return i < warmup ? linspace(start, end, warmup, i) : end;
}

double PhaseSchedule::at(int64_t step) const {
  const int64_t i = std::max<int64_t>(step, 0) - warmup;
  if (i < 0) return start + static_cast<double>(i + warmup) * ((peak - start) / static_cast<double>(warmup));
  if (i >= cosine) return end;
  return (peak - end) * ((std::cos(linspace(0.0, std::numbers::pi, cosine, i)) + 1.0) / 2.0) + end;
}

const std::vector<std::string>& lr_rule_names() {
  static const std::vector<std::string> names = {"none", "linear_256", "sqrt_1024", "4sqrt_1024"};
  return names;
}

LrRule lr_rule(const std::string& name) {
  const auto& names = lr_rule_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<LrRule>(found - names.begin());
  const std::string near = nearest_name(name, names);
  fail_usage("learning rate rule", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? std::string("Choose one of them") : fmt::format("Did you mean {}?", near));
}

double scaled_lr(LrRule rule, double base, int64_t batch) {
  if (batch < 1) fail_usage("learning rate rule", "a batch of at least 1", fmt::format("{}", batch), "Correct the batch size");
  const auto b = static_cast<double>(batch);
  switch (rule) {
    case LrRule::kNone:
      return base;
    case LrRule::kLinear256:
      return base * b / 256.0;
    case LrRule::kSqrt1024:
      return base * std::sqrt(b / 1024.0);
    case LrRule::k4Sqrt1024:
      return base * 4.0 * std::sqrt(b / 1024.0);
  }
  fail("learning rate rule", "a known one", fmt::format("{}", static_cast<int>(rule)), "");
}

}  // namespace dinoxx
