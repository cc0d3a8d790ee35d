// "dinoxx plan" as a user types it: what it prints and writes, every recipe, and each refusal.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "program.hpp"
#include "source_dir.hpp"

namespace dinoxx::testing_support {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

std::string recipe(const std::string& name) {
  return (source_dir() / "configs" / (name + ".cfg")).string();
}

TEST(PlanCommand, PrintsAndWritesOnePlan) {
  const fs::path folder = Workshop::get().folder.path(), table = folder / "plan.json", page = folder / "plan.html";
  const RunResult plan = dinoxx_run("plan " + recipe("dinov2_vitl14") + " --nodes 4 --gpus-per-node 8 --gpu h100 --price 2.5 --json " +
                                    table.string() + " --html " + page.string());
  ASSERT_EQ(plan.code, 0) << plan.output;
  for (const char* words :
       {"32 GPUs, 3072 images a step", "prototypes", "from 1 GPU to 1024", "proposed", "checkpoint.every", "at 2.5 a GPU-hour"})
    EXPECT_THAT(plan.output, HasSubstr(words));
  const json found = json::parse(read_text(table));
  EXPECT_EQ(found["parameters"]["all"], 401705856);
  const json& best = found["choices"][found["chosen"].get<size_t>()];
  EXPECT_TRUE(best["fits"]);
  double sum = 0;
  for (const auto& [part, bytes] : best["memory"].items()) sum += bytes.get<double>();
  EXPECT_DOUBLE_EQ(sum, best["memory_total"]);
  EXPECT_NEAR(found["run"]["price"], 2.5 * found["run"]["gpu_hours"].get<double>(), 1e-6 * sum);
  const std::string html = read_text(page);
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("</svg>zero3<"));  // in the legend of the chart of memory
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("src="), std::string::npos);
}

TEST(PlanCommand, KeysOfTheLineWin) {
  const std::string line = "plan " + recipe("dino_vits16") + " --nodes 1 --gpus-per-node 8 ";
  const RunResult set = dinoxx_run(line + "--set model.arch=vit_base"), typed = dinoxx_run(line + "--model.arch vit_base");
  ASSERT_EQ(set.code, 0) << set.output;
  const auto printed = [](const RunResult& result) { return result.output.substr(result.output.find('\n')); };  // behind the command line
  EXPECT_EQ(printed(set), printed(typed));
  EXPECT_NE(printed(set), printed(dinoxx_run(line)));
}

// The 7B model fits on no eight of these: the plan says what it needs and what would fit.
TEST(PlanCommand, SaysWhatWouldFit) {
  const RunResult plan = dinoxx_run("plan " + recipe("dinov3_vit7b16_pretrain") + " --nodes 1 --gpus-per-node 8 --gpu a100");
  ASSERT_EQ(plan.code, 0) << plan.output;
  for (const char* words : {"Nothing fits with 512 images a GPU at once", "needs least", "Would fit: "})
    EXPECT_THAT(plan.output, HasSubstr(words));
}

TEST(PlanCommand, SaysThatAnotherPolicyWouldFit) {
  const RunResult plan = dinoxx_run("plan " + recipe("dinov3_vit7b16_pretrain") + " --nodes 32 --gpus-per-node 8 --gpu h100 --policy ddp");
  ASSERT_EQ(plan.code, 0) << plan.output;
  EXPECT_THAT(plan.output, HasSubstr("Would fit: the same batch on these GPUs with zero3/node"));
}

TEST(PlanCommand, SaysWhereARunWouldNotEnd) {
  const RunResult plan = dinoxx_run("plan " + recipe("dino_vits16") + " --nodes 64 --gpus-per-node 8 --mtbf-hours 0.1");
  ASSERT_EQ(plan.code, 0) << plan.output;
  EXPECT_THAT(plan.output, HasSubstr("The run would not end"));
}

TEST(PlanCommand, Refusals) {
  const std::string line = "plan " + recipe("dino_vits16");
  expect_refusal(dinoxx_run("plan"), 2, {"a configuration"});
  expect_refusal(dinoxx_run("plan nothing.cfg"), 2, {"nothing.cfg"});
  expect_refusal(dinoxx_run(line + " --gpu h10"), 2, {"a100, h100, h200", "Did you mean h100?"});
  expect_refusal(dinoxx_run(line + " --nodes 0"), 2, {"--nodes", "1 or more", "0"});
  expect_refusal(dinoxx_run(line + " --nodes 3 --gpus-per-node 1"), 2, {"train.batch_size", "multiple of", "512", "510 or 513"});
  expect_refusal(dinoxx_run(line + " --policy zero"), 2, {"ddp, zero1, zero2, zero3"});
  expect_refusal(dinoxx_run("plan " + recipe("dino_resnet50") + " --gpus-per-node 8 --policy zero3"), 2,
                 {"a vision transformer", "resnet50"});
  expect_refusal(dinoxx_run(line + " --images 0"), 2, {"--images", "1 or more", "found 0"});
  expect_refusal(dinoxx_run(line + " --cores-per-node 0"), 2, {"--cores-per-node", "1 or more", "found 0"});
  expect_refusal(dinoxx_run(line + " --config " + recipe("dino_32px")), 2, {"one configuration", "dino_32px"});
  expect_refusal(dinoxx_run(line + " --mfu 45"), 2, {"--mfu", "0.45"});
  expect_refusal(dinoxx_run(line + " --set model.arch"), 2, {"--set", "KEY=VALUE"});
  expect_refusal(dinoxx_run(line + " --set modle.arch=vit_base"), 2, {"model.arch"});
  expect_refusal(dinoxx_run(line + " --write 0"), 2, {"--write", "above 0"});
  const fs::path file = Workshop::get().folder.path() / "short.cfg";
  std::ofstream(file) << "[gpu]\nmemory_gib = 80\n";
  expect_refusal(dinoxx_run(line + " --gpu " + file.string()), 2, {"short.cfg", "bf16_tflops"});
}

}  // namespace
}  // namespace dinoxx::testing_support
