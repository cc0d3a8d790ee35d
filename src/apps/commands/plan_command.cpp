#include <nlohmann/json.hpp>

#include "apps/commands.hpp"
#include "apps/plan_options.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "command.hpp"
#include "config/config_options.hpp"
#include "dinoxx/base/error.hpp"
#include "method/settings/config_help.hpp"
#include "plan/output/plan_json.hpp"
#include "plan/output/plan_page.hpp"
#include "plan/output/plan_table.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx plan: what a training takes on so many GPUs, before a job is sent.

  dinoxx plan CONFIG --nodes N --gpus-per-node G --gpu h100|h200|a100|FILE [--json FILE] [--html FILE]

Prints parameters, memory of a GPU by part for each policy, time of a step, what binds, communication, cores for loading, checkpoints, days
and GPU-hours, from 1 GPU to 4,096; and proposes what fits. Nothing is computed: no GPU and no data are needed. docs/plan.md has the formulas
and how far they are from what was counted and measured.
)";

}  // namespace

int run_plan(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  PlanLine line;
  line.take_config(words);
  std::vector<char*> rest;
  rest.reserve(words.size());
  for (std::string& word : words) rest.push_back(word.data());
  po::options_description own("the plan", kHelpColumns, kHelpColumns / 2);
  line.add_to(own);
  const ConfigLine parsed =
      parse_config_line(static_cast<int>(rest.size()), rest.data(), own, [](const Field& field) { return describe(field); });
  if (parsed.variables.count("help")) {
    fmt::print("{}\n{}", kUsage, parsed.help);
    return static_cast<int>(ExitCode::kDone);
  }
  Config config;
  const plan::Request request = line.request(config, parsed.settings);
  plan::Plan plan = plan::make_plan(config, request, line.teacher_arch());
  plan.model.notes.insert(plan.model.notes.end(), line.notes().begin(), line.notes().end());
  if (!line.json().empty()) write_file_atomically(line.json(), json_text(plan::plan_json(plan), 2) + "\n");
  if (!line.html().empty()) write_file_atomically(line.html(), plan::plan_page(plan));
  fmt::print("{}", plan::plan_text(plan));
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
