#include "dinoxx/eval/evaluate.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/core/files.hpp"
#include "dinoxx/eval/knn_suite.hpp"
#include "dinoxx/model/backbone_json.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The output folder: proven writable before the work begins, taken away again when the work fails and there was none before.
class OutputFolder {
 public:
  explicit OutputFolder(const fs::path& path) : path_(path) {
    for (fs::path folder = fs::absolute(path).lexically_normal(); !folder.empty() && !fs::exists(folder); folder = folder.parent_path()) made_.push_back(folder);
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

std::string class_name(const Dataset& dataset, int32_t label) {
  const auto& names = dataset.class_names();
  return label >= 0 && static_cast<size_t>(label) < names.size() ? names[label] : std::to_string(label);
}

std::string predictions_csv(const Dataset& dataset, const EvalData& data, const KnnReport& report) {
  std::string text = "id,key,label";
  for (const KnnResult& result : report.results) text += "," + result.scores["name"].get<std::string>();
  text += "\n";
  for (size_t q = 0; q < data.queries.size(); ++q) {
    text += fmt::format("{},{},{}", data.queries[q], csv_field(dataset.key(data.queries[q])), csv_field(class_name(dataset, data.query_labels[q])));
    for (const KnnResult& result : report.results) text += "," + csv_field(class_name(dataset, result.predictions[q]));
    text += "\n";
  }
  return text;
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
  static const std::vector<std::string> names{"knn"};
  return names;
}

const std::vector<std::string>& baseline_names() {
  static const std::vector<std::string> names{"untrained", "raw"};
  return names;
}

std::vector<std::string> parse_names(const std::string& text, const std::vector<std::string>& known, const std::string& option, bool may_be_empty) {
  std::vector<std::string> names;
  if (may_be_empty && text == "none") return names;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    begin = end + 1;
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string near = nearest_name(name, known);
      fail_usage(option, fmt::format("names out of {}{}", fmt::join(known, ", "), may_be_empty ? ", or none" : ""), fmt::format("\"{}\"", name),
                 near.empty() ? "Separate several by commas." : fmt::format("Did you mean {}?", near));
    }
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

json evaluate(const EvaluateOptions& options, Communicator& comm) {
  const auto start = std::chrono::steady_clock::now();
  std::shared_ptr<const Dataset> dataset;
  LoadedModel model;
  EvalData data;
  std::optional<OutputFolder> out;
  on_all_ranks(comm, [&] {
    if (!fs::exists(options.data)) {
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", options.data.string()), "Pack the images first.");
    }
    dataset = Dataset::open(options.data);
    model = load_model(options.model);
    data = choose_eval_data(*dataset, options.split, model.seed);
    plan_knn(options.knn, static_cast<int64_t>(data.memory.size()));
    if (options.image_size && *options.image_size % side_multiple(model.network->config()) != 0) {
      fail_usage("--image-size", fmt::format("a multiple of the patch size {}", side_multiple(model.network->config())), std::to_string(*options.image_size), "Change it.");
    }
    if (comm.rank() == 0) out.emplace(options.out);
  });

  const int image_size = options.image_size.value_or(model.image_size);
  std::vector<uint64_t> all = data.memory;
  all.insert(all.end(), data.queries.begin(), data.queries.end());
  const ExtractOptions extract{choose_transform(*dataset, all, image_size), ViewPlan{}, options.threads};

  std::vector<Embedder> embedders{backbone_embedder("teacher", "the checkpoint's backbone, CLS feature", *model.network)};
  std::unique_ptr<Backbone> untrained;
  for (const std::string& baseline : options.baselines) {
    if (baseline == "raw") {
      embedders.push_back(pixel_embedder(image_size));
    } else {
      untrained = untrained_like(*model.network, model.seed, options.model.dtype);
      embedders.push_back(backbone_embedder("untrained", fmt::format("same shape, initial weights of seed {}", model.seed), *untrained));
    }
  }

  json results = {{"format", "dinoxx results"},
                  {"version", 1},
                  {"checkpoint", describe_checkpoint(model, options.model.dtype)},
                  {"data", {{"path", options.data.string()}, {"fingerprint", dataset->fingerprint()}, {"images", dataset->size()}, {"classes", dataset->class_names()}}}};
  const KnnReport report = run_knn(*dataset, data, embedders, options.knn, extract, comm);
  json& knn = results["suites"]["knn"];
  knn = {{"protocol", report.protocol}, {"predictions", "predictions_knn.csv"}};
  for (const KnnResult& result : report.results) knn["results"].push_back(result.scores);
  results["run"] = {{"command", options.command_line},
                    {"ranks", comm.size()},
                    {"threads", options.threads},
                    {"build", options.build},
                    {"seconds",
                     {{"extract", report.extract_seconds},
                      {"search", report.search_seconds},
                      {"total", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}}}};
  on_all_ranks(comm, [&] {
    if (!out) return;
    try {
      out->write("predictions_knn.csv", predictions_csv(*dataset, data, report));
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
