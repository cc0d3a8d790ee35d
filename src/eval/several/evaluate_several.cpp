#include "evaluate_several.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/text/distinct_names.hpp"
#include "comm/agree.hpp"
#include "comm/gather.hpp"
#include "compare_evaluations.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/embed_rows.hpp"
#include "eval/run/asked.hpp"
#include "evaluation.hpp"
#include "request.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kComparison = "comparison.json";

void refuse_what_is_of_one(const EvaluateOptions& options, const std::vector<fs::path>& checkpoints) {
  const std::string several = fmt::format("{} checkpoints", checkpoints.size());
  if (options.model.step)
    fail_usage("--checkpoint-step", "one --checkpoint", several, "Name the checkpoint folders: RUN/checkpoints/step_N.");
  if (!options.model.model_settings.empty())
    fail_usage("--" + options.model.model_settings.front().key, "one --checkpoint", several,
               "It would be said of all. Evaluate that network alone, and compare: dinoxx compare DIR DIR.");
  std::set<fs::path> seen;
  for (const fs::path& checkpoint : checkpoints)
    if (!seen.insert(fs::weakly_canonical(checkpoint)).second)
      fail_usage("--checkpoint", "different checkpoints", fmt::format("{} twice", checkpoint.string()), "Name each once.");
  if (fs::exists(options.out / "results.json"))
    fail_usage("--out", "a folder for several evaluations", fmt::format("{} with the results of one", options.out.string()),
               "Name another folder.");
}

// Why the results in a folder are not those of `request`; "" when they are.
std::string why_not_reused(const fs::path& folder, const json& request) {
  if (!fs::exists(folder / "results.json")) return "there are none";
  try {
    const Evaluation there = read_evaluation(folder);
    const json& recorded = member(member(there.results, "run"), "request");
    if (recorded.is_null()) return "those in the folder are of a version that did not record what was asked";
    const std::string different = different_in(request, recorded);
    return different.empty() ? "" : "those in the folder differ in " + different;
  } catch (const Error& error) {
    return fmt::format("those in the folder cannot be read ({})", error.what());
  }
}

// A message that says which checkpoint it is about.
std::string named(const fs::path& checkpoint, const std::string& message) {
  return message.find(checkpoint.string()) == std::string::npos ? fmt::format("{}: {}", checkpoint.string(), message) : message;
}

// What rank 0 thinks, on all ranks.
std::string of_rank_0(const std::string& text, Communicator& comm) {
  return gather_texts(comm, text).front();
}

}  // namespace

std::vector<std::string> folder_names(const std::vector<fs::path>& checkpoints) {
  std::vector<fs::path> paths;
  for (const fs::path& checkpoint : checkpoints) {
    static const std::set<std::string> kEndings{".safetensors", ".pth", ".pt", ".bin", ".ckpt"};
    paths.push_back(kEndings.contains(checkpoint.extension().string()) ? fs::path(checkpoint).replace_extension() : checkpoint);
  }
  std::vector<std::string> names = distinct_names(paths);
  std::set<std::string> taken;
  for (std::string& name : names) {
    std::replace(name.begin(), name.end(), '/', '_');
    const std::string plain = name;
    for (int number = 2; !taken.insert(name).second; ++number) name = fmt::format("{}_{}", plain, number);
  }
  return names;
}

json evaluate_several(const EvaluateOptions& options, const std::vector<fs::path>& checkpoints,
                      const std::function<void(const EvaluatedCheckpoint&)>& evaluated, Communicator& comm) {
  const std::vector<std::string> names = folder_names(checkpoints);
  std::vector<EvaluateOptions> calls(checkpoints.size(), options);
  std::vector<json> requests;
  on_all_ranks(comm, [&] {
    refuse_what_is_of_one(options, checkpoints);
    if (!fs::exists(options.data))
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", options.data.string()), "Pack the images first.");
    const std::shared_ptr<const Dataset> dataset = what_is_asked(options, Dataset::open(options.data)).dataset;
    const EvalData data = choose_eval_data(*dataset, options.split, options.seed);
    for (size_t i = 0; i < checkpoints.size(); ++i) {
      calls[i].model.checkpoint = checkpoints[i];
      calls[i].out = options.out / names[i];
      calls[i].held_out_seed = options.seed;
      try {
        const LoadedModel model = load_model(calls[i].model);
        requests.push_back(request_of(calls[i], model, network_side(model, options.image_size), *dataset, data));
      } catch (const UsageError& error) {
        throw UsageError(named(checkpoints[i], error.what()));
      } catch (const Error& error) {
        throw Error(named(checkpoints[i], error.what()));
      }
    }
  });
  std::vector<fs::path> folders;
  for (size_t i = 0; i < calls.size(); ++i) {
    EvaluateOptions& call = calls[i];
    folders.push_back(call.out);
    const std::string why = of_rank_0(comm.rank() == 0 ? why_not_reused(call.out, requests[i]) : "", comm);
    const std::string place = fmt::format("{} ({} of {})", names[i], i + 1, calls.size());
    if (why.empty()) {
      if (comm.rank() == 0) evaluated({names[i], call.out, true, read_evaluation(call.out).results});
      continue;
    }
    on_all_ranks(comm, [&] {  // it would be of other results
      std::error_code none;
      if (comm.rank() == 0) fs::remove(options.out / kComparison, none);
    });
    if (options.say && why != "there are none") options.say(fmt::format("{}: evaluated again: {}", place, why));
    if (options.progress) call.progress = [&, place](const std::string& text) { options.progress(place + ": " + text); };
    try {
      const json results = evaluate(call, comm);
      if (comm.rank() == 0) evaluated({names[i], call.out, false, results});
    } catch (const AgreedError& error) {
      throw AgreedError(fmt::format("{}: {}", names[i], error.what()), error.exit_code());
    }
  }
  json comparison = compare_evaluations(folders, options.threads, comm);
  for (size_t i = 0; i < names.size(); ++i) {
    comparison["checkpoints"][i]["name"] = names[i];
    comparison["checkpoints"][i]["folder"] = names[i];
  }
  on_all_ranks(comm, [&] {
    if (comm.rank() == 0) write_file_atomically(options.out / kComparison, json_text(comparison, 2) + "\n");
  });
  return comparison;
}

}  // namespace dinoxx::eval
