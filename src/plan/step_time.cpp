#include "step_time.hpp"

#include <algorithm>

#include "optim/optim_config.hpp"

namespace dinoxx::plan {
namespace {

// Of the backward pass, during which gradients may travel: the last messages leave when it ends.
constexpr double kOverlapShare = 0.9;

struct Products {
  double seconds = 0, backward = 0;
};

double product_seconds(const Cost& cost, double element, double rate, double bandwidth) {
  double seconds = 0;
  for (const Product& p : cost.products) {
    const double bytes = element * (p.m * p.k + p.k * p.n + p.m * p.n);
    seconds += p.times * std::max(2 * p.m * p.n * p.k / rate, bytes / bandwidth);
  }
  return seconds;
}

// Bytes of the flat buffers that a step reads and writes: gradients written, zeroed and measured; masters, moments and averages both ways;
// copies written.
double optimizer_bytes(const Model& model, const Spread& spread) {
  const auto p = static_cast<double>(model.layout.numel), shards = static_cast<double>(spread.shards());
  const double copies = model.compute_bytes() == 2 ? 2 * 2 * p : 0, gradients = (4 + 4 + 4) * p;
  const double moments = model.config.optim->name == "adamw" ? 16 : 8;
  const double update = (4 + 8 + moments + 4 + 8) * p;  // gradient, master, moments; the student again, the average
  return gradients + copies + update / shards;
}

}  // namespace

double StepTime::compute() const {
  return std::max(products + attention + passes + optimizer, launches);
}

double StepTime::total() const {
  return std::max(compute() + exposed, loading);
}

std::string StepTime::binds() const {
  if (loading > compute() + exposed) return "loading";
  const double rates = products + attention, memory = passes + optimizer;
  if (launches > rates + memory && launches > exposed) return "launches";
  if (exposed > std::max(rates, memory)) return "communication";
  return rates >= memory ? "products" : "memory traffic";
}

StepTime step_time(const Model& model, const Spread& spread, const GpuFacts& gpu, const StepRates& rates) {
  const Work work = mean_work(model, spread.at_once(), spread.recompute, spread.prototypes.rows_at_once);  // of one part
  const auto parts = static_cast<double>(spread.parts);
  const auto element = static_cast<double>(model.compute_bytes());
  const double peak = element == 2 ? gpu.bf16_rate : gpu.fp32_rate, bandwidth = gpu.bandwidth * gpu.bandwidth_share;
  StepTime time;
  time.flops = parts * work.flops();
  double backward = work.student.backward_flops / std::max(work.product_flops(), 1.0);  // its share of computing
  if (rates.mfu) {
    time.products = work.flops() / (peak * *rates.mfu);
  } else {
    for (const Cost* cost : {&work.student, &work.teacher, &work.losses}) {
      time.products += product_seconds(*cost, element, peak * gpu.product_share, bandwidth);
      time.passes += cost->traffic / bandwidth;
    }
    time.attention = work.attention_flops() / (peak * gpu.attention_share);
    time.launches = (work.student.launches + work.teacher.launches + work.losses.launches) * gpu.launch;
  }
  for (double* of_part : {&time.products, &time.passes, &time.attention, &time.launches}) *of_part *= parts;
  time.optimizer = optimizer_bytes(model, spread) / bandwidth;
  // gradients that are added up first travel behind the last part alone
  const bool each_part = spread.policy == Policy::kZero2 || spread.policy == Policy::kZero3;
  backward *= (time.products + time.attention + time.passes) / (each_part ? 1 : parts);

  double hidden = 0;
  for (const StepCollective& collective : collectives_of(model, spread)) {
    const double seconds =
        collective.count * collective_seconds(gpu, collective.kind, collective.bytes, group_of(collective.span, spread.ranks));
    time.communication += seconds;
    if (collective.overlaps) hidden += seconds;
  }
  time.exposed = time.communication - std::min(hidden, kOverlapShare * backward);
  if (rates.cores_per_rank > 0) time.loading = static_cast<double>(spread.batch) * rates.seconds_per_image / rates.cores_per_rank;
  return time;
}

}  // namespace dinoxx::plan
