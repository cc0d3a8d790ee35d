// The plan against what the program did with the shapes of every recipe, on stand-ins for CUDA's libraries that count:
// tests/fakegpu/memory.csv has what tensors held at most, budgets.csv the operations of products, and calls and bytes of collectives.
// DINOXX_PRINT_PLAN=1 prints the table of docs/plan.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "method/settings/resolve.hpp"
#include "model/model_config.hpp"
#include "parallel/parallel_config.hpp"
#include "plan/traffic.hpp"
#include "support/source_dir.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

constexpr uint64_t kImages = 4800;  // of the set that the gate draws

using Row = std::map<std::string, std::string>;

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      cells.emplace_back();
    else
      cells.back() += c;
  }
  return cells;
}

// Without the recipes of several students, of which a plan sees one.
std::vector<Row> rows_of(const char* name) {
  std::ifstream file(source_dir() / "tests/fakegpu" / name);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = cells_of(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = cells_of(line);
    Row row;
    for (size_t i = 0; i < names.size(); ++i) row[names[i]] = cells.at(i);
    if (row["recipe"] != "distill_students_32px" && row["recipe"] != "distill_dinov3_students") rows.push_back(row);
  }
  return rows;
}

// What the gate changes in a recipe: tests/fakegpu/recipes.py, OVERRIDES.
std::vector<Setting> changes(const std::string& name) {
  if (name == "dinov3_vit7b16_gram" || name == "dinov3_vit7b16_high_resolution")
    return {{"gram.teacher", "", ""}, {"gram.first", "1it", ""}, {"gram.start", "1it", ""}, {"gram.ramp", "0it", ""}};
  if (name == "distill_vits14") return {{"head.out_dim", "4096", ""}, {"head.patch_out_dim", "4096", ""}};
  return {};
}

struct Case {
  Model model;
  int64_t ranks = 1, batch = 1;
  Policy policy = Policy::kDdp;
};

Case case_of(const Row& row) {
  const std::string& name = row.at("recipe");
  Case found;
  Config config = default_config();
  apply_settings(config, read_settings(source_dir() / "configs" / (name + ".cfg")));
  apply_settings(config, changes(name));
  if (const auto options = row.find("options"); options != row.end()) {
    std::istringstream words(options->second);
    for (std::string key, value; words >> key >> value;) {
      apply_settings(config, {{key.substr(2), value, key}});
      if (key == "--parallel.sync") found.policy = policy_from_name(value);
    }
  }
  found.ranks = std::stoll(row.at("ranks"));
  config.train->batch_size = std::stoll(row.at("images"));
  found.batch = config.train->batch_size / found.ranks;
  config = resolve_config(config, kImages, 1, nullptr, static_cast<int>(found.ranks));
  VitConfig teacher = vit_config("vit_tiny", "dinov2");  // the gate's own, of two blocks
  teacher.depth = 2;
  teacher.patch_size = static_cast<int>(config.model->patch_size);
  teacher.image_size = static_cast<int>(config.model->image_size.value());
  found.model = make_model(config, BackboneConfig(teacher));
  return found;
}

Spread spread_of(const Case& c) {
  return {{1, c.ranks}, c.batch, c.policy, c.model.recompute(), /*shard_in_node=*/false, /*parts=*/1, c.model.prototypes()};
}

Work work_of(const Case& c, const Resolution& resolution) {
  return work_of(c.model, resolution, c.batch, c.model.recompute(), c.model.prototypes().rows_at_once);
}

bool printing() {
  return std::getenv("DINOXX_PRINT_PLAN") != nullptr;
}

// At the worst moment of the largest resolution.
double planned_in_use(const Case& c) {
  double most = 0;
  for (const Resolution& resolution : c.model.resolutions) {
    const Memory memory = memory_of(c.model, spread_of(c), work_of(c, resolution));
    most = std::max(most, memory.total() - memory.of("context") - memory.of("unused by the allocator"));
  }
  return most;
}

TEST(Counted, MemoryInUseWithinFivePercent) {
  const std::vector<Row> rows = rows_of("memory.csv");
  ASSERT_GT(rows.size(), 40u);
  if (printing()) fmt::print("| recipe | images | options | planned, GB | counted, GB | error |\n|---|---|---|---|---|---|\n");
  for (const Row& row : rows) {
    SCOPED_TRACE(row.at("recipe") + " " + row.at("options"));
    const Case c = case_of(row);
    const double planned = planned_in_use(c) / 1e9, counted = std::stod(row.at("in_use_gb")), error = planned / counted - 1;
    EXPECT_LT(std::abs(error), 0.05) << planned << " planned, " << counted << " counted";
    if (printing() && (c.ranks == 1 || c.policy != Policy::kDdp))
      fmt::print("| {} | {} | {} | {:.3f} | {:.3f} | {:+.1f} % |\n", row.at("recipe"), c.batch, row.at("options"), planned, counted,
                 100 * error);
  }
}

// A table's number is rounded up to `unit`.
testing::AssertionResult rounds_up_to(double planned, double counted, double unit) {
  const double up = std::ceil(planned / unit - 1e-6) * unit;
  if (std::abs(up - counted) < unit / 2) return testing::AssertionSuccess();
  return testing::AssertionFailure() << planned << " planned, " << counted << " counted";
}

TEST(Counted, OperationsOfProducts) {
  for (const Row& row : rows_of("budgets.csv")) {
    SCOPED_TRACE(row.at("recipe"));
    const Case c = case_of(row);
    double flops = 0;
    for (const Resolution& resolution : c.model.resolutions) flops = std::max(flops, work_of(c, resolution).product_flops());
    const double counted = std::stod(row.at("teraflop"));
    // half a per cent, or what the table rounds away
    EXPECT_NEAR(flops / 1e12, counted - 0.005, 0.006 + 0.005 * counted);
  }
}

TEST(Counted, CallsAndBytesOfCollectives) {
  for (const Row& row : rows_of("budgets.csv")) {
    SCOPED_TRACE(row.at("recipe") + " on " + row.at("ranks"));
    const Case c = case_of(row);
    const Policy policy = c.ranks == 1 ? Policy::kDdp : policy_from_name(c.model.config.parallel->sync);
    const auto collectives = collectives_of(c.model, {{1, c.ranks}, c.batch, policy});
    if (policy == Policy::kZero3) {
      // the counted step takes a new Gram teacher, of which what stays is brought together at once. Messages end with a block, so that
      // there are more of them than are planned
      double renewed = 0;
      for (const StepCollective& collective : collectives)
        if (collective.what == "average weights") renewed += collective.bytes * collective.count;
      EXPECT_TRUE(rounds_up_to((tensor_bytes(collectives) + renewed) / 1e6, std::stod(row.at("collective_mb")), 0.1));
      continue;
    }
    EXPECT_EQ(call_count(collectives), std::stod(row.at("collectives")));
    EXPECT_TRUE(rounds_up_to(tensor_bytes(collectives) / 1e6, std::stod(row.at("collective_mb")), 0.1));
  }
}

// What the plan says of launches is for networks in which the host could bind: those whose blocks have own kernels.
TEST(Counted, LaunchesOfVisionTransformersWithinAFifth) {
  for (const Row& row : rows_of("budgets.csv")) {
    const Case c = case_of(row);
    if (!c.model.vit() || c.model.vit()->stem != "patch" || c.model.spec.gram) continue;
    SCOPED_TRACE(row.at("recipe"));
    const Work work = work_of(c, c.model.resolutions.front());
    const double counted = std::stod(row.at("launches")) + std::stod(row.at("products"));
    EXPECT_NEAR((work.student.launches + work.teacher.launches + work.losses.launches) / counted, 1, 0.2);
  }
}

}  // namespace
}  // namespace dinoxx::plan
