#include "dinoxx/optim/schedule.hpp"

#include <cmath>
#include <numbers>

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

double TemperatureSchedule::at(int64_t epoch) const {
  if (epoch < 0) epoch = 0;
  return epoch < warmup_epochs ? linspace(start, end, warmup_epochs, epoch) : end;
}

}  // namespace dinoxx
