#include "evaluate.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "answers.hpp"
#include "asked.hpp"
#include "base/crc32c.hpp"
#include "base/csv.hpp"
#include "base/json_text.hpp"
#include "base/machine.hpp"
#include "checks.hpp"
#include "comm/agree.hpp"
#include "cost_record.hpp"
#include "describe_data.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/units.hpp"
#include "eval/evidence/evidence.hpp"
#include "eval/evidence/feature_health.hpp"
#include "eval/evidence/feature_map.hpp"
#include "eval/evidence/feature_pictures.hpp"
#include "eval/evidence/label_checks.hpp"
#include "eval/evidence/leaks.hpp"
#include "eval/features/baselines.hpp"
#include "eval/features/embed_rows.hpp"
#include "eval/features/perceptual_hash.hpp"
#include "eval/multi_label/label_table.hpp"
#include "eval/ordered/ordered.hpp"
#include "eval/protocols/logistic_trial.hpp"
#include "eval/readout/whitening.hpp"
#include "eval/several/request.hpp"
#include "eval/statistics/ranking_curves.hpp"
#include "eval/statistics/resampling.hpp"
#include "method_scores.hpp"
#include "output_folder.hpp"
#include "progress.hpp"
#include "protocols.hpp"
#include "results/protocol_names.hpp"
#include "results/verdict_order.hpp"
#include "results_so_far.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Examples and diagnostics for a person to look at: of the checkpoint's features and the method that the verdict speaks of.
json collect_evidence(const ProtocolInput& input, const std::vector<ProtocolAnswers>& answered, std::string suspects,
                      std::map<std::string, std::string>& files) {
  constexpr size_t kPictures = 6;
  json evidence = {{"labels", label_suspicions(input, &suspects)}};
  if (!suspects.empty()) {
    files["suspects.csv"] = kSuspectsHeading + suspects;
    evidence["labels"]["file"] = "suspects.csv";
  }
  for (const VerdictMethod& wanted : kVerdictOrder) {
    for (const ProtocolAnswers& answers : answered) {
      if (answers.protocol->key != wanted.protocol) continue;
      for (const Prediction& prediction : answers.predictions.front()) {
        if (prediction.method != wanted.method) continue;
        evidence["neighbours"] = neighbour_evidence(input, wanted.protocol, prediction);
        std::vector<uint64_t> ids;
        for (const json& image : evidence["neighbours"]["images"])
          if (ids.size() < kPictures) ids.push_back(image["id"]);
        FeaturePictures pictures = feature_pictures(input, ids);
        evidence["pictures"] = std::move(pictures.section);
        files.merge(pictures.files);
        std::string map;
        evidence["map"] = feature_map(input, wanted.protocol, prediction, map);
        if (!map.empty()) files["feature_map.csv"] = std::move(map);
        return evidence;
      }
    }
  }
  return evidence;
}

json describe_checkpoint_with_seed(const LoadedModel& model, at::ScalarType precision) {
  json description = describe_checkpoint(model);
  description["seed"] = model.seed;
  description["precision"] = precision == at::kBFloat16 ? "bf16" : "fp32";
  return description;
}

// What the user says about fine-tuning, and where it starts from.
FinetuneOptions about_run(const EvaluateOptions& options, const LoadedModel& model) {
  FinetuneOptions finetune = options.finetune;
  finetune.by_name = std::find(options.protocols.begin(), options.protocols.end(), "finetune") != options.protocols.end();
  finetune.checkpoint = {{"file", model.file.filename().string()}, {"crc32c", fmt::format("{:08x}", model.crc32c)}};
  finetune.config_text = model.config_text;
  return finetune;
}

// UsageError where no protocol of `answered` has methods that decide by it.
std::optional<DecisionPlan> decision_of(const EvaluateOptions& options, const Dataset& dataset, const EvalData& data,
                                        const std::vector<ProtocolAnswers>& answered) {
  if (options.decision.empty()) return std::nullopt;
  if (std::none_of(answered.begin(), answered.end(),
                   [](const ProtocolAnswers& answers) { return answers.protocol->run == logistic_protocol; }))
    fail_usage("--recall and --cost", "the protocol logistic, whose answers they decide", "others", "Add it: --protocol logistic.");
  return plan_decision(options.decision, names_of_classes(dataset, data.classes), class_counts(data.memory_labels, data.classes),
                       plan_trial(dataset, data, options.seed).support);
}

// A network of the same shape with the weights that the run began with.
std::unique_ptr<Backbone> untrained_like(const Backbone& network, uint64_t seed, const ModelRequest& request) {
  auto fresh = make_backbone(network.config(), request.dtype);
  fresh->initialize(seed);
  move_to(*fresh, request.device);
  return fresh;
}

// Pixels of large images are too many; a network's features have been checked.
bool is_whitened(const Embedder& embedder) {
  return embedder.dim <= kWidestWhitened;
}

}  // namespace

const std::vector<std::string>& protocol_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Protocol& protocol : protocols()) all.emplace_back(protocol.name);
    all.emplace_back(kAllProtocols);
    return all;
  }();
  return names;
}

const std::vector<std::string>& baseline_names() {
  static const std::vector<std::string> names{"untrained", "raw"};
  return names;
}

std::vector<std::string> parse_names(const std::string& text, const std::vector<std::string>& known, const std::string& option,
                                     bool may_be_empty) {
  std::vector<std::string> names;
  if (may_be_empty && text == "none") return names;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    begin = end + 1;
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string near = nearest_name(name, known);
      fail_usage(option, fmt::format("names out of {}{}", fmt::join(known, ", "), may_be_empty ? ", or none" : ""),
                 fmt::format("\"{}\"", name), near.empty() ? "Separate several by commas." : fmt::format("Did you mean {}?", near));
    }
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::vector<std::string> parse_protocols(const std::string& text, const std::vector<std::string>& known, const std::string& option,
                                         const std::function<void(const std::string&)>& say) {
  std::string today;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string typed = text.substr(begin, end - begin), word = current_protocol_word(typed);
    today += (begin == 0 ? "" : ",") + word;
    if (say && word != typed)
      say(fmt::format("{}: \"{}\" is now called \"{}\"; the old word will go with the next release", option, typed, word));
    begin = end + 1;
  }
  return parse_names(today, known, option);
}

json evaluate(const EvaluateOptions& options, Communicator& comm) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<ProtocolAnswers> answered;
  bool with_validation = false;
  std::shared_ptr<const Dataset> dataset;
  std::optional<LabelTable> labels;  // where images have several
  LoadedModel model;
  EvalData data;
  std::optional<OutputFolder> out;
  std::optional<DecisionPlan> decision;
  std::vector<Subgroups> subgroups;
  std::vector<int32_t> ranks;  // of the classes, where they have an order
  json checks;
  int image_size = 0;
  std::string suspects;  // lines of suspects.csv
  on_all_ranks(comm, [&] {
    if (!fs::exists(options.data)) {
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", options.data.string()), "Pack the images first.");
    }
    const Asked asked = what_is_asked(options, Dataset::open(options.data));
    dataset = asked.dataset;
    for (const Protocol* protocol : asked.protocols) {
      answered.push_back({protocol, {}, {}});
      with_validation |= protocol->uses_validation;
    }
    model = load_model(options.model);
    data = choose_eval_data(*dataset, options.split, options.held_out_seed.value_or(model.seed));
    if (!asked.labels.empty()) labels = label_table(*dataset, data, asked.labels);
    plan_knn(options.knn, static_cast<int64_t>(data.memory.size()));
    decision = decision_of(options, *dataset, data, answered);
    subgroups = subgroups_of(*dataset, data, options.by);
    if (!options.ordered.empty()) ranks = class_ranks(names_of_classes(*dataset, data.classes), options.ordered);
    image_size = network_side(model, options.image_size);
    checks = check_splits(*dataset, data);
    check_labels(*dataset, data, checks, suspects);
    if (comm.rank() == 0) out.emplace(options.out);
  });

  std::vector<uint64_t> all = data.memory;
  all.insert(all.end(), data.queries.begin(), data.queries.end());
  if (with_validation) all.insert(all.end(), data.validation.begin(), data.validation.end());
  const ExtractOptions extract{transform_of(options, *dataset, all, image_size), model.normalization.value().values, options.threads,
                               options.whole};
  if (const std::string note = note_on_crop(*dataset, all, extract.transform); !note.empty()) checks["warnings"].push_back(note);

  std::vector<Embedder> embedders;
  std::unique_ptr<Backbone> untrained;
  const auto of_network = [&](const char* name, const std::string& description, const Backbone& network) {
    return read_stages(backbone_embedder(name, fmt::format("{}, {}", description, describe(options.readout)), network), options.readout,
                       image_size);
  };
  on_all_ranks(comm, [&] {
    embedders.push_back(of_network("teacher", "the checkpoint's backbone", *model.network));
    for (const std::string& baseline : options.baselines) {
      if (baseline == "raw") {
        embedders.push_back(pixel_embedder(image_size, model.network.get()));
        if (options.readout.whiten)
          embedders.back().description += is_whitened(embedders.back()) ? ", whitened" : ", too many to be whitened";
      } else {
        untrained = untrained_like(*model.network, model.seed, options.model);
        embedders.push_back(of_network("untrained", fmt::format("same shape, initial weights of seed {}", model.seed), *untrained));
      }
    }
  });

  json results = {{"format", "dinoxx results"},
                  {"version", 1},
                  {"checkpoint", describe_checkpoint_with_seed(model, options.model.dtype)},
                  {"features", describe(options.readout)},
                  {"data", describe_data(*dataset, options.data, ranks, labels ? &*labels : nullptr)},
                  {"seed", options.seed}};
  results["data"]["queries_crc32c"] = fmt::format("{:08x}", crc32c(data.queries.data(), data.queries.size() * sizeof(uint64_t)));
  CostRecord cost(embedders);
  for (ProtocolAnswers& answers : answered) {
    json& settings = answers.section["protocol"];
    settings = describe_images(data, extract);
    json own = answers.protocol->settings(data, options.knn);
    for (const json& note : own["notes"]) settings["notes"].push_back(note);
    own.erase("notes");
    settings.update(own);
    answers.section["results"] = json::array();
  }
  cost.add("prepare");
  std::map<std::string, std::string> files;  // beside results.json
  std::vector<ProtocolFile> protocol_files;
  json of_protocols = json::object();  // what depends on the machine
  const FinetuneOptions finetune = about_run(options, model);
  std::optional<FinetuneOffer> finetune_offer;
  std::optional<FeatureCache> cache;
  if (!options.cache.empty()) cache.emplace(options.cache, options.cache_limit, options.say);
  const ResultsSoFar so_far(
      out ? options.out : fs::path(),
      [&] {
        json found;
        for (const ProtocolAnswers& answers : answered) {
          if (!answers.section.contains("results") || answers.section["results"].empty()) continue;
          if (found.is_null()) found = results;
          found["suites"][std::string(answers.protocol->key)] = answers.section;
          found["checks"] = checks;
        }
        return found;
      },
      options.say);
  const ProgressScope progress(options.progress, options.progress_seconds);
  size_t number = 0;
  std::vector<Embedder> embedded = embedders;
  embedded.push_back(hash_embedder());
  LocalFeatures local = embed_all(*dataset, data, with_validation, embedded, extract, comm, cache ? &*cache : nullptr);
  cost.add("extract");
  if (cache) cost.move("extract", "cache", cache->seconds());
  const Leaks leaks =
      find_leaks(*dataset, data, take_features(local, embedders.size(), data, comm), options.seed, options.threads, comm, checks);
  if (!leaks.list.empty()) {
    files["leaks.csv"] = leaks_csv(*dataset, leaks);
    checks["leaks"]["file"] = "leaks.csv";
  }
  cost.add("checks");
  for (size_t e = 0; e < embedders.size(); ++e) {
    SplitFeatures features = take_features(local, e, data, comm);
    Embedder embedder = embedders[e];
    ProtocolInput input{*dataset,        data,
                        embedder,        features,
                        options.knn,     options.seed,
                        options.threads, comm,
                        &extract,        options.linear_probe_views,
                        &finetune,       &finetune_offer};
    if (decision) input.decision = &*decision;
    if (labels) input.labels = &*labels;
    progress_phase(fmt::format("checks of {}", embedders[e].name));
    if (e == 0) {
      checks["near_identical"] = check_near_identical(input);
      judge_near_identical(checks);
    }
    cost.add("checks");
    json health = feature_health(input);  // as near_identical of the features before whitening, which would hide what it tells
    cost.add("evidence");
    if (options.readout.whiten && is_whitened(embedder)) {
      progress_phase(fmt::format("whitening of {}", embedder.name));
      const Whitening whitening =
          whiten({&features.memory, &features.queries, &features.validation}, *options.readout.whiten, options.threads, comm);
      embedder = whitened(std::move(embedder), whitening);
      cost.add("whitening", embedder.name);
    }
    for (ProtocolAnswers& answers : answered) {
      progress_phase(
          fmt::format("{} of {} ({} of {})", answers.protocol->name, embedders[e].name, ++number, answered.size() * embedders.size()));
      ProtocolResult result = answers.protocol->run(input);
      json section = {{"name", embedders[e].name}, {"description", embedders[e].description}, {"feature_dim", embedders[e].dim}};
      section.update(result.scores);
      answers.section["results"].push_back(std::move(section));
      answers.predictions.push_back(std::move(result.predictions));
      answers.figures.push_back(std::move(result.figures));
      if (!result.run.is_null()) of_protocols[std::string(answers.protocol->key)][embedders[e].name] = std::move(result.run);
      if (out) std::move(result.files.begin(), result.files.end(), std::back_inserter(protocol_files));
      cost.add(std::string(answers.protocol->key), embedders[e].name);
    }
    progress_phase(fmt::format("evidence of {}", embedders[e].name));
    results["feature_health"].push_back(std::move(health));
    if (e == 0 && !labels) results["evidence"] = collect_evidence(input, answered, suspects, files);
    cost.add("evidence");
  }
  results["checks"] = checks;
  if (!labels) {
    progress_phase("bootstrap intervals");
    add_intervals(*dataset, data, subgroups, ranks, leaks.queries, embedders, answered, results, options, comm);
  }
  cost.add("intervals");
  std::vector<std::string> names;
  names.reserve(embedders.size());
  for (const Embedder& embedder : embedders) names.push_back(embedder.name);
  for (ProtocolAnswers& answers : answered) {
    if (!answers.figures.front().empty()) answers.section["paired"] = paired_differences(names, answers.figures);
    if (!answers.predictions.front().empty()) {
      const std::string name = fmt::format("predictions_{}.csv", answers.protocol->key);
      answers.section["predictions"] = name;
      if (out) files[name] = predictions_csv(*dataset, data, subgroups, embedders, answers);
    }
    results["suites"][std::string(answers.protocol->key)] = std::move(answers.section);
  }
  json seconds = cost.parts();
  seconds["total"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  results["run"] = {{"command", options.command_line},
                    {"request", request_of(options, model, image_size, *dataset, data)},
                    {"ranks", comm.size()},
                    {"threads", options.threads},
                    {"build", options.build},
                    {"host", host_name()},
                    {"processor", cpu_model()},
                    {"device", options.model.device.str()},
                    {"peak_memory_bytes", peak_memory()},
                    {"seconds", seconds},
                    {"embedders", cost.of_embedders(comm)},
                    {"steps", of_protocols}};
  if (cache) results["run"]["cache"] = cache->report();
  on_all_ranks(comm, [&] {
    if (!out) return;
    try {
      for (const auto& [name, content] : files) out->write(name, content);
      for (const ProtocolFile& file : protocol_files) out->write(file);
      out->write("results.json", json_text(results, 2) + "\n");
      out->keep();
    } catch (...) {
      out->discard();
      throw;
    }
  });
  return results;
}

}  // namespace dinoxx::eval
