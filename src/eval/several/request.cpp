#include "request.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/files.hpp"
#include "model/weights/facts.hpp"

namespace dinoxx::eval {

using nlohmann::json;

namespace {

// As typed; of a table of costs what is in it, because the file may change. One that cannot be read is the evaluation's to refuse.
json decision_of(const DecisionRequest& asked) {
  json costs = asked.costs;
  for (json& cost : costs)
    if (const std::filesystem::path file = cost.get<std::string>(); std::filesystem::is_regular_file(file)) cost = read_text(file);
  return {asked.recalls, asked.confidence ? json(*asked.confidence) : json(nullptr), costs};
}

}  // namespace

json request_of(const EvaluateOptions& options, const LoadedModel& model, int image_size, const Dataset& dataset, const EvalData& data) {
  const bool held_out = data.query_source != split_name(Split::kTest) && data.query_source != split_name(Split::kVal);
  const FinetuneOptions& tune = options.finetune;
  std::vector<std::string> protocols = options.protocols;
  std::sort(protocols.begin(), protocols.end());
  return {{"weights", fmt::format("{:08x}", model.crc32c)},
          {"facts", describe(model.facts)},
          {"input", describe(model.normalization.value())},
          {"image_size", image_size},
          {"whole", options.whole},
          {"crop", options.crop ? json(*options.crop) : json(nullptr)},
          {"precision", options.model.dtype == at::kBFloat16 ? "bf16" : "fp32"},
          {"device", options.model.device.is_cuda() ? "cuda" : "cpu"},
          {"data", dataset.fingerprint()},
          {"queries", data.query_source},
          {"held_out_seed", held_out ? json(options.held_out_seed.value_or(model.seed)) : json(nullptr)},
          {"run_seed", model.seed},
          {"label_column", options.labels.column},
          {"labels", options.labels.several},
          {"merge_class_names", options.labels.merge_names},
          {"by", options.by},
          {"ordered", options.ordered},
          {"protocols", protocols},
          {"baselines", options.baselines},
          {"seed", options.seed},
          {"decision", decision_of(options.decision)},
          {"features", to_json(options.readout)},
          {"knn", {options.knn.ks, options.knn.headline_k, options.knn.temperature}},
          {"linear_probe_views", options.linear_probe_views},
          {"finetune",
           {tune.methods, tune.epochs, tune.patience, tune.batch, tune.lr, tune.layer_decay, tune.rank, tune.alpha, tune.targets, tune.ema,
            tune.crop, tune.loss, tune.sampler, tune.save, tune.max_minutes}},
          {"program", options.build}};
}

std::string different_in(const json& request, const json& other) {
  std::set<std::string> names;
  for (const json* one : {&request, &other})
    if (one->is_object())
      for (const auto& [name, value] : one->items()) names.insert(name);
  std::vector<std::string> different;
  for (const std::string& name : names)
    if (!request.contains(name) || !other.contains(name) || request[name] != other[name]) different.push_back(name);
  return fmt::format("{}", fmt::join(different, ", "));
}

}  // namespace dinoxx::eval
