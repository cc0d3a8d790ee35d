#include "plan_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/advice.hpp"
#include "plan/choose.hpp"
#include "report/page/chart.hpp"
#include "report/page/html.hpp"

namespace dinoxx::plan {
namespace {

using namespace report;

Html proposed(const Plan& plan) {
  std::vector<Html> items;
  for (const std::string& sentence : plan.advice) items.push_back(text(sentence));
  for (const std::string& note : plan.model.notes) items.push_back(text("Assumed: " + note + "."));
  const Estimate& best = plan.best();
  const std::string verdict =
      best.fits ? fmt::format("{}, {} of {} a GPU, {:.0f} images/s, {:.2f} days", way_name(best.spread), gigabytes(best.memory.total()),
                              gigabytes(plan.request.gpu.memory), best.images_per_second(), plan.totals.seconds / 86400)
                : "nothing fits";
  return element("div", element("strong", text(verdict)), best.fits ? "class=\"verdict\"" : "class=\"verdict warn\"") + list(items);
}

Html memory_table(const Plan& plan) {
  std::vector<std::string> headings{"part"};
  for (const Estimate& e : plan.choices) headings.push_back(way_name(e.spread));
  Table table("Memory of a GPU, GB", headings);
  std::vector<std::string> parts;
  for (const Estimate& e : plan.choices)
    for (const MemoryPart& part : e.memory.parts)
      if (std::find(parts.begin(), parts.end(), part.part) == parts.end()) parts.push_back(part.part);
  for (const std::string& part : parts) {
    std::vector<Cell> cells{words(part)};
    for (const Estimate& e : plan.choices) cells.push_back(number(fmt::format("{:.2f}", e.memory.of(part) / 1e9)));
    table.add(cells);
  }
  std::vector<Cell> all{words("all")}, fits{words("fits")};
  for (const Estimate& e : plan.choices) {
    all.push_back(number(fmt::format("{:.2f}", e.memory.total() / 1e9)));
    fits.push_back(words(e.fits ? "yes" : "no"));
  }
  table.add(all);
  table.add(fits);
  return table.html();
}

Html step_table(const Plan& plan) {
  const StepTime& time = plan.best().time;
  Table table(fmt::format("One step as proposed, {:.2f} TFLOP; bound by {}", time.flops / 1e12, time.binds()), {"what", "ms"});
  const std::pair<const char*, double> rows[] = {{"products", time.products},
                                                 {"attention", time.attention},
                                                 {"elementwise passes", time.passes},
                                                 {"optimizer and averages", time.optimizer},
                                                 {"launches by the host, at the same time", time.launches},
                                                 {"communication", time.communication},
                                                 {"communication that nothing hides", time.exposed},
                                                 {"step", time.total()}};
  for (const auto& [what, seconds] : rows) table.add({words(what), number(fmt::format("{:.2f}", 1e3 * seconds))});
  return table.html();
}

Html scaling_table(const Plan& plan) {
  Table table("The batch shared out over more GPUs",
              {"GPUs", "images a GPU", "way", "GB", "ms a step", "images/s", "days", "GPU-hours", "cores a GPU", "bound by"});
  for (const Row& row : plan.scaling) {
    const Estimate& e = row.estimate;
    std::vector<Cell> cells{number(std::to_string(row.gpus)), number(std::to_string(e.spread.batch)), words(way_name(e.spread)),
                            number(fmt::format("{:.1f}", e.memory.total() / 1e9))};
    if (e.fits)
      for (const std::string& value : {fmt::format("{:.1f}", 1e3 * e.time.total()), fmt::format("{:.0f}", e.images_per_second()),
                                       fmt::format("{:.2f}", row.totals.seconds / 86400), fmt::format("{:.0f}", row.totals.gpu_hours),
                                       fmt::format("{:.1f}", row.cores_per_gpu)})
        cells.push_back(number(value));
    else
      for (int i = 0; i < 5; ++i) cells.push_back(number("-", "does not fit"));
    cells.push_back(words(e.fits ? e.time.binds() : "memory"));
    table.add(cells);
  }
  return table.html();
}

Html charts(const Plan& plan) {
  Chart speed{.title = "Images per second", .x_label = "GPUs", .y_label = "images/s", .log_x = true, .low = 0.0};
  Chart memory{.title = "Memory of a GPU by policy", .x_label = "GPUs", .y_label = "GB", .log_x = true, .low = 0.0};
  Chart days{.title = "Days of the run", .x_label = "GPUs", .y_label = "days", .log_x = true, .low = 0.0};
  Series planned{.name = "planned"}, ideal{.name = "in proportion"}, time{.name = "days"};
  std::vector<Policy> weighed{Policy::kDdp, Policy::kZero1, Policy::kZero2};
  if (plan.model.vit()) weighed.push_back(Policy::kZero3);
  std::vector<Series> policies;
  policies.reserve(weighed.size());
  for (const Policy policy : weighed) policies.push_back({.name = policy_name(policy)});
  Series limit{.name = "of the GPU"};
  double first = 0;
  for (const Row& row : plan.scaling) {
    const auto gpus = static_cast<double>(row.gpus);
    const Estimate& e = row.estimate;
    if (e.fits) {
      if (first == 0) first = e.images_per_second() / gpus;
      planned.points.push_back({gpus, e.images_per_second()});
      ideal.points.push_back({gpus, first * gpus});
      time.points.push_back({gpus, row.totals.seconds / 86400});
    }
    for (size_t i = 0; i < policies.size(); ++i) {
      Spread spread = e.spread;
      spread.policy = weighed[i];
      policies[i].points.push_back({gpus, estimate(plan.model, plan.request, spread).memory.total() / 1e9});
    }
    limit.points.push_back({gpus, plan.request.gpu.memory / 1e9});
  }
  speed.series = {planned, ideal};
  memory.series = policies;
  memory.series.push_back(limit);
  days.series = {time};
  return element("div", figure_of(speed) + figure_of(memory) + figure_of(days), "class=\"figures\"");
}

}  // namespace

std::string plan_page(const Plan& plan) {
  const Request& request = plan.request;
  Page page("Plan of " + request.config, fmt::format("{} nodes with {} {} each", request.nodes, request.per_node, request.gpu.name));
  page.section("proposed", "What is proposed", proposed(plan));
  page.section("memory", "Memory", memory_table(plan));
  page.section("step", "One step", step_table(plan));
  page.section("gpus", "From one GPU to many", charts(plan) + scaling_table(plan));
  std::vector<std::pair<std::string, Html>> rows;
  for (const PartSizes& part : plan.model.parts) rows.emplace_back("parameters: " + part.part, text(fmt::format("{}", part.elements)));
  rows.emplace_back("cores that loading takes, all nodes", text(fmt::format("{:.1f}", plan.loading.cores)));
  rows.emplace_back("MB/s from the file system", text(fmt::format("{:.0f}", plan.loading.read_rate / 1e6)));
  rows.emplace_back("checkpoint", text(fmt::format("{} in {:.1f} s, every {:.0f} minutes", gigabytes(plan.saving.bytes),
                                                   plan.saving.seconds, plan.saving.interval / 60)));
  rows.emplace_back("GPU-hours", text(fmt::format("{:.0f}", plan.totals.gpu_hours)));
  if (request.price > 0) rows.emplace_back("price", text(fmt::format("{:.0f}", plan.totals.price)));
  page.section("run", "The run", facts("Parameters, loading, checkpoints", rows));
  return page.html();
}

}  // namespace dinoxx::plan
