#include <boost/program_options.hpp>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <thread>

#include "apps/build_info.hpp"
#include "apps/commands.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "comm/gpu.hpp"
#include "comm/probe/library_versions.hpp"
#include "data_pipeline/augment/view_profiles.hpp"
#include "data_pipeline/format/describe.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "doctor/machine/versions.hpp"
#include "history/run_history.hpp"
#include "kernels/families.hpp"
#include "method/methods.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;
using nlohmann::json;

constexpr const char* kUsage = R"(dinoxx info: what this build, a data folder, a run folder or an augmentation profile is.

  dinoxx info                          versions, processor, what was built in
  dinoxx info --data DATA              images per split and class, sizes, where they came from
  dinoxx info --data DATA --strict     the same; a warning is an error
  dinoxx info --data DATA --verify     the same, after reading and decoding every image
  dinoxx info --run RUN                configuration, checkpoints, last metrics
  dinoxx info --methods                training methods (train.method), one a line
  dinoxx info --profile NAME           what each view of an augmentation profile goes through; without NAME: the profiles
)";

void print_build() {
  const json build = build_info();
  const auto row = [](const std::string& name, const std::string& value) { fmt::print("{:<12} {}\n", name, value); };
  for (const auto& [name, value] : build.items()) row(name, value.is_string() ? value.get<std::string>() : json_text(value));
  row("MPI", mpi_library_version());
  row("HDF5", hdf5_description());
  row("CUDA", built_with_nccl() ? "built in, with NCCL" : "not built in");
  row("cores", fmt::format("{}", std::thread::hardware_concurrency()));
  row("processor", doctor::processor_features());
  row("SIMD level", doctor::simd_in_words());
  for (const KernelFamily& family : kernel_families())
    fmt::print("  {:<26} {:<11} {}\n", family.name, family.level ? level_name(*family.level) : "LibTorch",
               family.same_bits ? "the same bits at all levels" : "levels agree to rounding");
}

void print_data(const fs::path& path, bool verify, bool strict) {
  const DataDescription data = describe_data(path);
  fmt::print("{}", data.text);
  for (const std::string& note : data.notes) fmt::print("note: {}\n", note);
  for (const std::string& warning : data.warnings) fmt::print("warning: {}\n", warning);
  if (strict && !data.warnings.empty()) {
    fail(path.string(), "a data folder without warnings (--strict)", fmt::format("{} of them", data.warnings.size()),
         "Mend the input and pack again");
  }
  if (!verify) return;
  const VerifyReport report = verify_dataset(path);
  for (const std::string& problem : report.problems) fmt::print("problem: {}\n", problem);
  const uint64_t found = report.problem_count;
  if (found > report.problems.size()) fmt::print("problem: {} more\n", found - report.problems.size());
  fmt::print("verified {} images: {} problem{}, {} duplicates within a split, {} across splits\n", report.samples, found,
             found == 1 ? "" : "s", report.duplicates, report.duplicates_across_splits);
  if (found > 0) fail(path.string(), "an undamaged data folder", fmt::format("{} problems", found), "Copy it again, or pack again");
}

/// The last line of the journal that is whole and has figures, of a file that another process may be writing.
std::string last_figures(const std::string& text) {
  std::istringstream lines(text.substr(0, text.rfind('\n') + 1));
  std::string last;
  for (std::string line; std::getline(lines, line);)
    if (const json record = json::parse(line, nullptr, false); !record.is_object() || !record.contains("event")) last = line;
  return last;
}

void print_run(const fs::path& run) {
  std::error_code code;
  if (!fs::is_directory(run, code)) fail_usage(run.string(), "a run folder", "nothing there", "Name the --out of dinoxx train");
  const RunHistory history(run);
  const bool has_config = history.has_config(), has_metrics = history.has_metrics();
  if (!has_config && !has_metrics)
    fail_usage(run.string(), "a run folder with config.cfg or metrics.jsonl", "neither", "Name the --out of dinoxx train");
  if (has_config) fmt::print("--- {}\n{}", history.config_file().string(), read_text(history.config_file()));
  const std::vector<SavedCheckpoint> checkpoints = history.checkpoints();
  fmt::print("--- checkpoints: {}{}\n", checkpoints.empty() ? "none" : std::to_string(checkpoints.size()),
             checkpoints.empty() ? "" : ", newest " + checkpoints.back().folder.string());
  for (const fs::path& left : history.left_branches())
    fmt::print("--- a branch that was left: {}, {} checkpoints\n", left.string(), RunHistory(left).checkpoints().size());
  if (has_metrics) {
    const std::string line = last_figures(read_text(history.metrics_file()));
    const json parsed = json::parse(line, nullptr, false);
    fmt::print("--- last metrics\n{}\n", parsed.is_discarded() ? line : json_text(parsed, 2));
  }
}

void print_profile(const std::string& name) {
  if (name.empty()) {
    for (const std::string& profile : view_profiles()) fmt::print("{:<22} {}\n", profile, profile_summary(profile));
    return;
  }
  const ViewPlan plan = profile_views(name);
  fmt::print("{}: {}\n{}", name, profile_summary(name), plan.describe());
}

void print_methods() {
  for (const Method& method : methods()) fmt::print("{:<22} {}\n", method.name, method.summary);
}

}  // namespace

int run_info(int argc, char** argv) {
  std::string data, run, profile;
  bool verify = false, strict = false, with_methods = false;
  po::options_description options("options");
  options.add_options()("help,h", "this text")("data", po::value(&data)->value_name("DATA"), "data folder")(
      "run", po::value(&run)->value_name("RUN"), "run folder")("profile", po::value(&profile)->value_name("NAME")->implicit_value(""),
                                                               "augmentation profile; without NAME: their list")(
      "methods", po::bool_switch(&with_methods), "training methods")(
      "verify", po::bool_switch(&verify), "with --data: read, check and decode everything")("strict", po::bool_switch(&strict),
                                                                                            "with --data: a warning is an error");
  po::variables_map variables;
  try {
    po::store(po::command_line_parser(argc, argv).options(options).positional({}).run(), variables);
    po::notify(variables);
  } catch (const po::error& error) {
    fail_usage("command line", "options as in \"dinoxx info --help\"", error.what(), "");
  }
  if (variables.count("help") != 0) {
    std::stringstream text;
    text << options;
    fmt::print("{}\n{}", kUsage, text.str());
    return static_cast<int>(ExitCode::kDone);
  }
  if (verify && data.empty()) fail_usage("--verify", "--data beside it", "none", "");
  if (strict && data.empty()) fail_usage("--strict", "--data beside it", "none", "");
  const bool has_profile = variables.count("profile") != 0;
  if (data.empty() && run.empty() && !has_profile && !with_methods) print_build();
  if (!data.empty()) print_data(data, verify, strict);
  if (!run.empty()) print_run(run);
  if (has_profile) print_profile(profile);
  if (with_methods) print_methods();
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
