#include "plan_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "plan/advice.hpp"
#include "plan/choose.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

std::string of_network(const Model& model) {
  std::string text = "parameters, millions\n";
  for (const PartSizes& part : model.parts)
    text += fmt::format("  {:<26} {:>12.3f}\n", part.part, static_cast<double>(part.elements) / 1e6);
  text += fmt::format("  {:<26} {:>12.3f}\n", "all", static_cast<double>(model.parameters) / 1e6);
  if (model.frozen) text += fmt::format("  {:<26} {:>12.3f}\n", "frozen teacher", static_cast<double>(model.frozen_elements) / 1e6);
  return text;
}

std::string column_name(Spread spread) {
  spread.recompute = {};
  spread.prototypes = {};
  return way_name(spread);
}

// "zero3/node, recompute = block, rows_at_once = 256, shard_prototypes": keys without their sections.
std::string short_name(const Spread& spread) {
  const auto [part, every] = spread.recompute;
  std::string text = column_name(spread);
  if (part != "none") text += ", recompute = " + part;
  if (part != "none" && every > 1) text += fmt::format(" of every {}", every);
  if (spread.prototypes.rows_at_once > 0) text += fmt::format(", rows_at_once = {}", spread.prototypes.rows_at_once);
  return text + (spread.shares_prototypes() ? ", shard_prototypes" : "");
}

std::string of_memory(const Plan& plan) {
  const Spread& best = plan.best().spread;
  std::vector<Estimate> columns;
  for (const Estimate& e : plan.choices)
    if (e.spread.recompute == best.recompute && e.spread.prototypes == best.prototypes) columns.push_back(e);
  std::string text = fmt::format("memory a GPU, GB, {} images at once", best.at_once());
  if (best.recompute.part != "none") text += ", " + recompute_keys(best.recompute);
  if (const std::string keys = prototype_keys(best); !keys.empty()) text += ", " + keys;
  text += fmt::format("\n  {:<26}", "");
  for (const Estimate& e : columns) text += fmt::format(" {:>10}", column_name(e.spread));
  text += "\n";
  std::vector<std::string> parts;
  for (const Estimate& e : columns)
    for (const MemoryPart& part : e.memory.parts)
      if (std::find(parts.begin(), parts.end(), part.part) == parts.end()) parts.push_back(part.part);
  for (const std::string& part : parts) {
    text += fmt::format("  {:<26}", part);
    for (const Estimate& e : columns) text += fmt::format(" {:>10.2f}", e.memory.of(part) / 1e9);
    text += "\n";
  }
  text += fmt::format("  {:<26}", "all");
  for (const Estimate& e : columns) text += fmt::format(" {:>10.2f}", e.memory.total() / 1e9);
  text += fmt::format("\n  {:<26}", fmt::format("of {}", gigabytes(plan.request.gpu.memory)));
  for (const Estimate& e : columns) text += fmt::format(" {:>10}", e.fits ? "fits" : "too much");
  return text + "\n";
}

std::string of_step(const Plan& plan) {
  const Estimate& best = plan.best();
  const StepTime& time = best.time;
  const double peak = plan.model.compute_bytes() == 2 ? plan.request.gpu.bf16_rate : plan.request.gpu.fp32_rate;
  std::string text = fmt::format("a step of a GPU as proposed ({}): {:.2f} TFLOP\n", way_name(best.spread), time.flops / 1e12);
  const auto row = [&](const char* what, double seconds, const std::string& note = "") {
    text += fmt::format("  {:<26} {:>9.1f} ms{}\n", what, 1e3 * seconds, note);
  };
  row("products", time.products);
  row("attention", time.attention);
  row("elementwise passes", time.passes);
  row("optimizer, averages", time.optimizer);
  row("launches by the host", time.launches, "  at the same time");
  row("communication", time.communication, fmt::format("  {:.1f} ms of it not hidden", 1e3 * time.exposed));
  if (time.loading > 0) row("loading", time.loading, "  at the same time");
  row("step", time.total(),
      fmt::format("  {:.1f} % of the device's rate; bound by {}", 100 * time.flops / time.total() / peak, time.binds()));
  const auto collectives = collectives_of(plan.model, best.spread);
  if (best.spread.ranks.size() > 1) {
    text += fmt::format("  {:<40} {:>6} {:>11} {:>12}\n", "collectives of a step", "calls", "MB in all", "MB sent");
    for (const StepCollective& c : collectives) {
      text += fmt::format("  {:<40} {:>6.0f} {:>11.2f} {:>12.2f}\n", c.what, c.count, c.bytes * c.count / 1e6,
                          sent_bytes(c, best.spread.ranks) / 1e6);
    }
  }
  return text;
}

std::string of_run(const Plan& plan) {
  const Estimate& best = plan.best();
  const RunTotals& run = plan.totals;
  const auto nodes = static_cast<double>(plan.request.nodes);
  std::string text = fmt::format("the run: {} steps, {:.0f} images/s, {:.2f} days, {:.0f} GPU-hours", run.steps, best.images_per_second(),
                                 run.seconds / 86400, run.gpu_hours);
  if (plan.request.price > 0) text += fmt::format(", {:.0f} at {} a GPU-hour", run.price, plan.request.price);
  text += fmt::format("\n  loading      {:.1f} cores a node ({:.0f} images/s a core), {:.0f} MB/s from the file system\n",
                      plan.loading.cores / nodes, 1 / plan.loading.seconds_per_image, plan.loading.read_rate / 1e6);
  text += fmt::format(
      "  checkpoints  {} in {:.1f} s, every {:.0f} minutes; {:.2f} % of the time lost to saving, failures and restarts (mean time between "
      "failures of the job {:.0f} h)\n",
      gigabytes(plan.saving.bytes), plan.saving.seconds, plan.saving.interval / 60, 100 * plan.saving.lost, plan.saving.mtbf / 3600);
  return text;
}

std::string of_scaling(const Plan& plan) {
  size_t width = 3;
  for (const Row& row : plan.scaling) width = std::max(width, short_name(row.estimate.spread).size());
  std::string text =
      fmt::format("from 1 GPU to {}, the batch of {} shared out\n  {:>5} {:>8} {:>{}} {:>9} {:>9} {:>10} {:>9} {:>10} {:>9}  {}\n",
                  plan.scaling.empty() ? 1 : plan.scaling.back().gpus, plan.model.config.train->batch_size, "GPUs", "img/GPU", "way", width,
                  "GB", "ms", "img/s", "days", "GPU-hours", "cores/GPU", "bound by");
  for (const Row& row : plan.scaling) {
    const Estimate& e = row.estimate;
    text += fmt::format("  {:>5} {:>8} {:>{}} {:>9.1f} ", row.gpus, e.spread.batch, short_name(e.spread), width, e.memory.total() / 1e9);
    if (!e.fits) {
      text += "  does not fit\n";
      continue;
    }
    text += fmt::format("{:>9.1f} {:>10.0f} {:>9.2f} {:>10.0f} {:>9.1f}  {}{}\n", 1e3 * e.time.total(), e.images_per_second(),
                        row.totals.seconds / 86400, row.totals.gpu_hours, row.cores_per_gpu, e.time.binds(),
                        e.refused.empty()                                ? ""
                        : e.refused.starts_with("head.shard_prototypes") ? " (refused: too few prototypes)"
                                                                         : " (refused: groups of images)");
  }
  return text;
}

}  // namespace

std::string plan_text(const Plan& plan) {
  const Request& request = plan.request;
  std::string text = fmt::format("plan of {} on {} node{} with {} {} each: {} GPUs, {} images a step\n\n", request.config, request.nodes,
                                 request.nodes == 1 ? "" : "s", request.per_node, request.gpu.name, request.nodes * request.per_node,
                                 plan.model.config.train->batch_size);
  text += of_network(plan.model) + "\n" + of_memory(plan) + "\n" + of_step(plan) + "\n" + of_run(plan) + "\n" + of_scaling(plan) +
          "\nproposed\n";
  for (const std::string& sentence : plan.advice) text += "  " + sentence + "\n";
  for (const std::string& note : plan.model.notes) text += "  Assumed: " + note + ".\n";
  return text;
}

}  // namespace dinoxx::plan
