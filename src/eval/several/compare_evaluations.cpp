#include "compare_evaluations.hpp"

#include <algorithm>

#include "base/text/distinct_names.hpp"
#include "comm/agree.hpp"
#include "comparable.hpp"
#include "evaluation.hpp"
#include "figures.hpp"
#include "paired_methods.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

double number_or(const json& value, double otherwise) {
  return value.is_number() ? value.get<double>() : otherwise;
}

// Images whose features the protocols take: those of the validation split too.
double images_of(const Evaluation& evaluation) {
  const json& splits = member(member(evaluation.results, "data"), "splits");
  const json& settings = member(member(evaluation.results, "suites").front(), "protocol");
  double images = number_or(member(member(settings, "memory"), "images"), 0) + number_or(member(member(settings, "queries"), "images"), 0);
  if (member(member(settings, "queries"), "source") == "test") images += number_or(member(splits, "val"), 0);
  return images;
}

json cost_of(const Evaluation& evaluation, const std::vector<std::string>& protocols) {
  const json& run = member(evaluation.results, "run");
  const json& own = member(member(run, "embedders"), evaluation.embedder);
  json cost = {{"images", member(own, "images")}, {"core_seconds", member(own, "core_seconds")}};
  for (const char* key : {"images_per_core_second", "embed_seconds", "fit_seconds"}) cost[key] = nullptr;
  const double cores = number_or(member(run, "ranks"), 1) * number_or(member(run, "threads"), 1);
  cost["cores"] = cores;
  const double images = number_or(cost["images"], 0), seconds = number_or(cost["core_seconds"], 0);
  if (images > 0 && seconds > 0) {
    cost["images_per_core_second"] = images / seconds;
    cost["embed_seconds"] = images_of(evaluation) * seconds / images / cores;
  }
  if (const json& parts = member(own, "seconds"); parts.is_object()) {
    double fit = 0;
    for (const std::string& key : protocols) fit += number_or(member(parts, key), 0);
    cost["fit_seconds"] = fit;
  }
  cost["total_seconds"] = member(member(run, "seconds"), "total");
  for (const char* key : {"host", "processor", "device", "ranks", "threads"}) cost[key] = member(run, key);
  const json& read = member(member(run, "cache"), "read");
  cost["cache_read"] = read.is_array() && std::any_of(read.begin(), read.end(), [&](const json& entry) {  // "EMBEDDER, N images"
                         return entry.is_string() && entry.get<std::string>().starts_with(evaluation.embedder + ",");
                       });
  return cost;
}

json describe(const Evaluation& evaluation, const std::vector<std::string>& protocols) {
  const json& checkpoint = member(evaluation.results, "checkpoint");
  json row = {{"name", evaluation.name}, {"folder", evaluation.folder.string()}};
  for (const char* key : {"file", "crc32c", "step", "model", "parameters", "precision"}) row[key] = member(checkpoint, key);
  row["features"] = member(evaluation.results, "features");  // absent in those of earlier versions: of the network as it is
  row["feature_dim"] = member(evaluation.section(protocols.front()), "feature_dim");
  row["transform"] = member(member(member(member(evaluation.results, "suites"), protocols.front()), "protocol"), "transform");
  row["cost"] = cost_of(evaluation, protocols);
  return row;
}

}  // namespace

json compare_evaluations(const std::vector<fs::path>& given, int threads, Communicator& comm) {
  std::vector<Evaluation> evaluations;
  Common common;
  on_all_ranks(comm, [&] {
    const std::vector<fs::path> folders = evaluation_folders(given);
    const std::vector<std::string> names = distinct_names(folders);
    for (size_t i = 0; i < folders.size(); ++i) {
      evaluations.push_back(read_evaluation(folders[i]));
      evaluations.back().name = names[i];
    }
    common = find_common(evaluations);
  });
  const Evaluation& first = evaluations[0];
  const uint64_t seed = member(first.results, "seed").is_number_unsigned() ? first.results["seed"].get<uint64_t>() : 0;
  PairedMethods paired = pair_methods(evaluations, common.protocols, seed, threads, comm);
  json result = {{"format", "dinoxx comparison"}, {"version", 1}, {"level", kTestLevel}};
  for (const char* key : {"name", "path", "fingerprint", "images", "groups"})
    result["data"][key] = member(member(first.results, "data"), key);
  const json& settings = member(member(member(first.results, "suites"), common.protocols.front()), "protocol");
  for (const char* key : {"memory", "queries"}) result[key] = member(settings, key);
  result["few_test_images"] = member(member(member(first.results, "checks"), "test_size"), "few") == true;
  result["checkpoints"] = json::array();
  for (const Evaluation& evaluation : evaluations) result["checkpoints"].push_back(describe(evaluation, common.protocols));
  result["protocols"] = common.protocols;
  result["methods"] = std::move(paired.methods);
  result["classes"] = std::move(paired.classes);
  result["test"] = std::move(paired.test);
  result["figures"] = compare_figures(evaluations, common.protocols);
  result["left_out"] = json::array();
  for (const LeftOut& left : common.left_out) result["left_out"].push_back({{"protocol", left.protocol}, {"why", left.why}});
  std::vector<std::string> notes = common.notes;
  notes.insert(notes.end(), paired.notes.begin(), paired.notes.end());
  result["notes"] = notes;
  return result;
}

}  // namespace dinoxx::eval
