#include "dinoxx/eval/evaluate.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/core/files.hpp"
#include "dinoxx/eval/checks.hpp"
#include "dinoxx/eval/ladder.hpp"
#include "dinoxx/eval/method_scores.hpp"
#include "dinoxx/eval/resampling.hpp"
#include "dinoxx/model/backbone_json.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kAllSteps = "ladder";

// The output folder: proven writable before the work begins, taken away again when the work fails and there was none before.
class OutputFolder {
 public:
  explicit OutputFolder(const fs::path& path) : path_(path) {
    for (fs::path folder = fs::absolute(path).lexically_normal(); !folder.empty() && !fs::exists(folder); folder = folder.parent_path())
      made_.push_back(folder);
    try {
      make_writable_directory(path);
    } catch (...) {
      remove_made();
      throw;
    }
  }
  ~OutputFolder() {
    if (!kept_) remove_made();
  }
  void write(const std::string& name, const std::string& content) {
    const bool replaces = fs::exists(path_ / name);
    write_file_atomically(path_ / name, content);
    if (!replaces) written_.push_back(path_ / name);
  }
  void keep() { kept_ = true; }
  void discard() {
    std::error_code ignored;
    for (const fs::path& file : written_) fs::remove(file, ignored);
  }

 private:
  // Folders are removed only when they are empty.
  void remove_made() {
    std::error_code ignored;
    for (const fs::path& folder : made_) fs::remove(folder, ignored);
  }

  fs::path path_;
  std::vector<fs::path> made_;  // deepest first
  std::vector<fs::path> written_;
  bool kept_ = false;
};

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

// Answers of all embedders in one step.
struct StepAnswers {
  const Step* step;
  json section;                                      // of results.json
  std::vector<std::vector<Prediction>> predictions;  // per embedder
  std::vector<std::vector<ResampledFigure>> figures = {};
};

std::string predictions_csv(const Dataset& dataset, const EvalData& data, std::span<const Embedder> embedders, const StepAnswers& answers) {
  std::string text = "id,key,label";
  for (size_t e = 0; e < embedders.size(); ++e)
    for (const Prediction& prediction : answers.predictions[e]) text += "," + embedders[e].name + ":" + prediction.method;
  text += "\n";
  for (size_t q = 0; q < data.queries.size(); ++q) {
    text += fmt::format("{},{},{}", data.queries[q], csv_field(dataset.key(data.queries[q])),
                        csv_field(class_name(dataset, data.query_labels[q])));
    for (const auto& of_embedder : answers.predictions)
      for (const Prediction& prediction : of_embedder) text += "," + csv_field(class_name(dataset, prediction.classes[q]));
    text += "\n";
  }
  return text;
}

// The answer of one who looks at no picture.
Prediction majority(const EvalData& data) {
  const std::vector<int64_t> counts = class_counts(data.memory_labels, data.classes);
  const auto most = static_cast<int32_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  return {"majority", std::vector<int32_t>(data.queries.size(), most), {}, {}};
}

// Bootstrap intervals of all methods and of what is worth comparing: the checkpoint's headline method of each step against the same method
// on the baselines and against the headline method of the first step; every other method of the checkpoint against its step's headline; the
// first step's headline against the majority class.
void add_intervals(const Dataset& dataset, const EvalData& data, std::span<const Embedder> embedders, std::vector<StepAnswers>& steps,
                   json& results, const EvaluateOptions& options, Communicator& comm) {
  struct Place {
    json name;
    json* scores;
  };
  std::vector<Place> places;
  std::vector<const std::vector<int32_t>*> predictions;
  std::vector<MethodPair> pairs;
  const Prediction none = majority(data);
  results["majority"] = method_scores(dataset, data, none);
  places.push_back({"majority", &results["majority"]});
  predictions.push_back(&none.classes);
  size_t first_headline = 0;
  for (StepAnswers& answers : steps) {
    size_t headline = 0;
    std::map<std::string, size_t> of_checkpoint;
    for (size_t e = 0; e < embedders.size(); ++e) {
      for (size_t m = 0; m < answers.predictions[e].size(); ++m) {
        const Prediction& prediction = answers.predictions[e][m];
        json& scores = answers.section["results"][e]["methods"][prediction.method];
        scores = method_scores(dataset, data, prediction);
        const size_t place = places.size();
        places.push_back({{answers.step->name, embedders[e].name, prediction.method}, &scores});
        predictions.push_back(&prediction.classes);
        if (e > 0) {
          if (of_checkpoint.contains(prediction.method)) pairs.push_back({of_checkpoint[prediction.method], place});
          continue;
        }
        of_checkpoint[prediction.method] = place;
        if (m > 0) {
          pairs.push_back({place, headline});
        } else {
          headline = place;
          pairs.push_back({place, first_headline});  // the majority class at first
          if (first_headline == 0) first_headline = place;
        }
      }
    }
  }
  const BootstrapReport report = bootstrap_methods(dataset, data, predictions, pairs, options.seed, options.threads, comm);
  results["bootstrap"] = report.protocol;
  for (size_t i = 0; i < places.size(); ++i) (*places[i].scores)["bootstrap95"] = report.intervals[i];
  results["comparisons"] = json::array();
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [first, second] = pairs[i];
    const McNemar test = mcnemar(data.query_labels, *predictions[first], *predictions[second]);
    results["comparisons"].push_back(
        {{"first", places[first].name},
         {"second", places[second].name},
         {"mcnemar", {{"only_first_right", test.only_first}, {"only_second_right", test.only_second}, {"p", test.p}}},
         {"difference95", report.differences[i]}});
  }
}

json describe_checkpoint(const LoadedModel& model, at::ScalarType precision) {
  return {{"file", model.file.string()},
          {"crc32c", fmt::format("{:08x}", model.crc32c)},
          {"step", model.step ? json(*model.step) : json(nullptr)},
          {"model", to_json(model.network->config())},
          {"seed", model.seed},
          {"precision", precision == at::kBFloat16 ? "bf16" : "fp32"},
          {"notes", model.notes}};
}

// A network of the same shape with the weights that the run began with.
std::unique_ptr<Backbone> untrained_like(const Backbone& network, uint64_t seed, at::ScalarType dtype) {
  auto fresh = make_backbone(network.config(), dtype);
  fresh->initialize(seed);
  return fresh;
}

}  // namespace

const std::vector<std::string>& suite_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Step& step : ladder()) all.emplace_back(step.name);
    all.emplace_back(kAllSteps);
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

json evaluate(const EvaluateOptions& options, Communicator& comm) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<StepAnswers> steps;
  bool with_validation = false;
  for (const Step& step : ladder()) {
    const auto asked = [&](const char* name) {
      return std::find(options.suites.begin(), options.suites.end(), name) != options.suites.end();
    };
    if (!asked(step.name) && !asked(kAllSteps)) continue;
    steps.push_back({&step, {}, {}});
    with_validation |= step.uses_validation;
  }
  std::shared_ptr<const Dataset> dataset;
  LoadedModel model;
  EvalData data;
  std::optional<OutputFolder> out;
  json checks;
  on_all_ranks(comm, [&] {
    if (!fs::exists(options.data)) {
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", options.data.string()), "Pack the images first.");
    }
    dataset = Dataset::open(options.data);
    model = load_model(options.model);
    data = choose_eval_data(*dataset, options.split, model.seed);
    plan_knn(options.knn, static_cast<int64_t>(data.memory.size()));
    if (options.image_size && *options.image_size % side_multiple(model.network->config()) != 0) {
      fail_usage("--image-size", fmt::format("a multiple of the patch size {}", side_multiple(model.network->config())),
                 std::to_string(*options.image_size), "Change it.");
    }
    checks = check_splits(*dataset, data);
    if (comm.rank() == 0) out.emplace(options.out);
  });

  const int image_size = options.image_size.value_or(model.image_size);
  std::vector<uint64_t> all = data.memory;
  all.insert(all.end(), data.queries.begin(), data.queries.end());
  if (with_validation) all.insert(all.end(), data.validation.begin(), data.validation.end());
  const ExtractOptions extract{choose_transform(*dataset, all, image_size), ViewPlan{}, options.threads};

  std::vector<Embedder> embedders{backbone_embedder("teacher", "the checkpoint's backbone, CLS feature", *model.network)};
  std::unique_ptr<Backbone> untrained;
  for (const std::string& baseline : options.baselines) {
    if (baseline == "raw") {
      embedders.push_back(pixel_embedder(image_size, model.network.get()));
    } else {
      untrained = untrained_like(*model.network, model.seed, options.model.dtype);
      embedders.push_back(backbone_embedder("untrained", fmt::format("same shape, initial weights of seed {}", model.seed), *untrained));
    }
  }

  json results = {{"format", "dinoxx results"},
                  {"version", 1},
                  {"checkpoint", describe_checkpoint(model, options.model.dtype)},
                  {"data",
                   {{"path", options.data.string()},
                    {"fingerprint", dataset->fingerprint()},
                    {"images", dataset->size()},
                    {"classes", dataset->class_names()}}},
                  {"seed", options.seed}};
  json seconds = json::object();
  auto since = std::chrono::steady_clock::now();
  const auto took = [&](const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    seconds[what] = seconds.value(what, 0.0) + std::chrono::duration<double>(now - since).count();
    since = now;
  };
  for (StepAnswers& answers : steps) {
    json& protocol = answers.section["protocol"];
    protocol = describe_images(data, extract);
    json own = answers.step->protocol(data, options.knn);
    for (const json& note : own["notes"]) protocol["notes"].push_back(note);
    own.erase("notes");
    protocol.update(own);
    answers.section["results"] = json::array();
  }
  took("prepare");
  LocalFeatures local = embed_all(*dataset, data, with_validation, embedders, extract, comm);
  took("extract");
  for (size_t e = 0; e < embedders.size(); ++e) {
    const SplitFeatures features = take_features(local, e, data, comm);
    const StepInput input{*dataset, data, embedders[e], features, options.knn, options.seed, options.threads, comm, &extract};
    if (e == 0) checks["near_identical"] = check_near_identical(input);
    took("checks");
    for (StepAnswers& answers : steps) {
      StepResult step = answers.step->run(input);
      json section = {{"name", embedders[e].name}, {"description", embedders[e].description}, {"feature_dim", embedders[e].dim}};
      section.update(step.scores);
      answers.section["results"].push_back(std::move(section));
      answers.predictions.push_back(std::move(step.predictions));
      answers.figures.push_back(std::move(step.figures));
      took(answers.step->name);
    }
  }
  results["checks"] = checks;
  add_intervals(*dataset, data, embedders, steps, results, options, comm);
  took("intervals");
  std::map<std::string, std::string> tables;
  std::vector<std::string> names;
  for (const Embedder& embedder : embedders) names.push_back(embedder.name);
  for (StepAnswers& answers : steps) {
    if (!answers.figures.front().empty()) answers.section["paired"] = paired_differences(names, answers.figures);
    if (!answers.predictions.front().empty()) {
      const std::string name = fmt::format("predictions_{}.csv", answers.step->name);
      answers.section["predictions"] = name;
      if (out) tables[name] = predictions_csv(*dataset, data, embedders, answers);
    }
    results["suites"][answers.step->name] = std::move(answers.section);
  }
  seconds["total"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  results["run"] = {{"command", options.command_line},
                    {"ranks", comm.size()},
                    {"threads", options.threads},
                    {"build", options.build},
                    {"seconds", seconds}};
  on_all_ranks(comm, [&] {
    if (!out) return;
    try {
      for (const auto& [name, text] : tables) out->write(name, text);
      out->write("results.json", results.dump(2) + "\n");
      out->keep();
    } catch (...) {
      out->discard();
      throw;
    }
  });
  return results;
}

}  // namespace dinoxx::eval
