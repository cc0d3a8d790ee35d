#include "classifier.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "base/crc32c.hpp"
#include "base/json_text.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/features.hpp"
#include "eval/statistics/statistics.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/backbone_json.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/weights.hpp"
#include "validation_scores.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kKey = "dinoxx.classifier";
constexpr const char* kChecksum = "dinoxx.classifier.crc32c";
constexpr const char* kFormat = "dinoxx classifier";
constexpr int kVersion = 2, kPlainVersion = 1;  // 1: of the network's feature as it is
constexpr const char* kExpected = "a classifier made by \"dinoxx predict --save\"";

// Of every name, text and tensor but the checksum itself, so that any changed byte is noticed.
std::string checksum_of(const std::map<std::string, TensorView>& tensors, const std::map<std::string, std::string>& metadata) {
  uint32_t crc = 0;
  const auto add = [&](const void* data, size_t size) { crc = crc32c(data, size, crc); };
  for (const auto& [name, text] : metadata) {
    if (name == kChecksum) continue;
    add(name.data(), name.size());
    add(text.data(), text.size());
  }
  for (const auto& [name, view] : tensors) {
    add(name.data(), name.size());
    add(view.shape.data(), view.shape.size() * sizeof(int64_t));
    add(view.bytes.data(), view.bytes.size());
  }
  return fmt::format("{:08x}", crc);
}

json input_json(const ClassifierInput& input) {
  return {{"resize", input.transform.resize},
          {"size", input.transform.crop},
          {"whole", input.whole},
          {"used_bits", input.used_bits},
          {"in_words", describe(input.transform, input.whole)}};
}

// What other commands take from a file of weights.
FactValues facts_of(const ClassifierInput& input) {
  FactValues facts;
  facts.image_size = input.transform.crop;
  facts.fit = input.whole ? "whole" : "crop";
  if (!input.whole && input.transform.resize > 0) facts.crop = static_cast<double>(input.transform.crop) / input.transform.resize;
  return facts;
}

[[noreturn]] void refuse_damaged(const fs::path& file, const std::string& expected, const std::string& found) {
  fail(file.string(), expected, found, "The file is damaged: copy it again, or make it anew by \"dinoxx predict --save\".");
}

Classifier parse_classifier(const fs::path& path, const SafetensorsFile& file, const json& text) try {
  Classifier classifier{.readout = readout_from_json(text.value("features", json())),
                        .head = {{to_tensor(file.at("head.weight")), to_tensor(file.at("head.bias"))},
                                 text.at("head"),
                                 to_tensor(file.at("known.centre")),
                                 to_tensor(file.at("known.basis")),
                                 to_tensor(file.at("known.reference")),
                                 std::nullopt,
                                 {},
                                 read_whitening(file)},
                        .classes = {},
                        .training_images = {},
                        .rule = {},
                        .rule_in_validation = text.at("decision").at("validation"),
                        .input = {{}, false, parse_normalization(file.metadata().at(kNormalizationKey), path.string())},
                        .checkpoint = text.at("checkpoint"),
                        .data = text.at("data")};
  if (text.at("known_to").is_number()) classifier.head.known_to = text.at("known_to").get<double>();
  for (const json& of_class : text.at("classes")) {
    classifier.classes.push_back(of_class.at("name"));
    classifier.training_images.push_back(of_class.at("training_images"));
  }
  classifier.rule = rule_from_json(text.at("decision").at("rule"), classifier.classes);
  const json& input = text.at("input");
  classifier.input.transform = {input.at("resize").get<int>(), input.at("size").get<int>()};
  classifier.input.whole = input.at("whole");
  classifier.input.used_bits = input.at("used_bits");
  classifier.precision = text.at("precision") == "bf16" ? at::kBFloat16 : at::kFloat;
  return classifier;
} catch (const json::exception& error) {
  refuse_damaged(path, "all that a classifier has", error.what());
}

void check_shapes(const fs::path& file, const Classifier& classifier, const Backbone& network) {
  const StoredHead& head = classifier.head;
  const int64_t classes = static_cast<int64_t>(classifier.classes.size()),
                dim = read_stages(backbone_embedder("", "", network), classifier.readout, classifier.input.transform.crop).dim;
  const bool fit = head.model.weight.dim() == 2 && head.model.weight.size(0) == classes && head.model.weight.size(1) == dim &&
                   head.whitening.has_value() == classifier.readout.whiten.has_value() &&
                   (!head.whitening || head.whitening->mean.numel() == dim) && head.model.bias.numel() == classes &&
                   head.centre.numel() == dim && head.basis.dim() == 2 && head.basis.size(0) == dim && head.reference.dim() == 2 &&
                   head.reference.size(1) == head.basis.size(1);
  if (!fit) refuse_damaged(file, fmt::format("a head of {} classes on {} features", classes, dim), "tensors of other shapes");
}

}  // namespace

void write_classifier(const fs::path& file, const Classifier& classifier, const Backbone& network, const json& build) {
  const StoredHead& head = classifier.head;
  NamedTensors tensors{{"head.weight", head.model.weight.contiguous()},
                       {"head.bias", head.model.bias.contiguous()},
                       {"known.centre", head.centre.contiguous()},
                       {"known.basis", head.basis.contiguous()},
                       {"known.reference", head.reference.contiguous()}};
  for (const NamedTensor& tensor : whitening_tensors(head.whitening)) tensors.push_back(tensor);
  for (const auto& [name, tensor] : stored_state(network)) tensors.push_back({"backbone." + name, tensor.detach().cpu().contiguous()});
  json classes = json::array();
  for (size_t c = 0; c < classifier.classes.size(); ++c)
    classes.push_back({{"name", classifier.classes[c]}, {"training_images", classifier.training_images[c]}});
  const bool plain = classifier.readout.plain();
  json text = {{"format", kFormat},
               {"version", plain ? kPlainVersion : kVersion},
               {"classes", classes},
               {"input", input_json(classifier.input)},
               {"head", head.about},
               {"decision", {{"rule", classifier.rule.about}, {"validation", classifier.rule_in_validation}}},
               {"known_to", head.known_to ? json(*head.known_to) : json(nullptr)},
               {"precision", classifier.precision == at::kBFloat16 ? "bf16" : "fp32"},
               {"checkpoint", classifier.checkpoint},
               {"data", classifier.data},
               {"build", build}};
  if (!plain) text["features"] = to_json(classifier.readout);
  const std::map<std::string, TensorView> views = tensor_views(tensors);
  std::map<std::string, std::string> metadata{{"format", "pt"},
                                              {kKey, json_text(text)},
                                              {kBackboneKey, json_text(to_json(network.config()))},
                                              {kNormalizationKey, to_text(classifier.input.normalization)},
                                              {kFactsKey, json_text(facts_json(facts_of(classifier.input)))}};
  metadata[kChecksum] = checksum_of(views, metadata);
  write_safetensors(file, views, metadata);
}

void check_place_of_classifier(const fs::path& file) {
  if (file.extension() != ".safetensors")
    fail_usage("--save", "a name that ends in .safetensors", fmt::format("\"{}\"", file.string()),
               "Network and head become one such file.");
  const fs::path above = fs::absolute(file).parent_path();
  if (!fs::is_directory(above)) fail_usage("--save", "a folder that is there", fmt::format("no {}", above.string()), "Make it first.");
  if (!fs::exists(file)) return;
  bool replaces = false;
  try {
    replaces = fs::is_regular_file(file) && WeightFile::open(file, FileAccess::kHeader).settings().contains(kKey);
  } catch (const Error&) {  // another kind of file
  }
  if (!replaces)
    fail_usage("--save", "a new file, or a classifier to replace", fmt::format("{}, which is none", file.string()), "Choose another name.");
}

json classifier_in(const WeightFile& file) {
  const json& settings = file.settings();
  if (!settings.is_object() || !settings.contains(kKey) || !settings[kKey].is_string()) return nullptr;
  const json text = json::parse(settings[kKey].get<std::string>(), nullptr, /*allow_exceptions=*/false);
  if (!text.is_object() || text.value("format", "") != kFormat || !text.contains("version") || !text["version"].is_number_integer())
    refuse_damaged(file.path(), fmt::format("a \"{}\" in the metadata", kFormat), "another text");
  if (const int64_t version = text["version"]; version > kVersion)
    fail(file.path().string(), fmt::format("a classifier of version {} or older", kVersion), fmt::format("version {}", version),
         "A newer dinoxx wrote it: use that program, or a newer one.");
  return text;
}

std::vector<std::string> classifier_lines(const json& in_file) {
  const json none = json::object();
  const json& head = in_file.value("head", none);
  std::vector<std::string> classes;
  for (const json& of_class : in_file.value("classes", json::array()))
    classes.push_back(fmt::format("{} ({})", of_class.value("name", ""), of_class.value("training_images", int64_t{0})));
  std::vector<std::string> lines{fmt::format("{} classes (training images): {}", classes.size(), fmt::join(classes, ", ")),
                                 fmt::format("head {}, images {}, {}", head.value("method", ""),
                                             in_file.value("input", none).value("in_words", ""), in_file.value("precision", ""))};
  if (head.contains("features")) lines.push_back(fmt::format("features: {}", head["features"].get<std::string>()));
  const json validation = head.value("validation", none);
  if (const std::string score = validation_text(validation); !score.empty()) lines.push_back(score);
  for (const std::string& line : rule_lines(in_file.value("decision", none).value("rule", none))) lines.push_back(line);
  const json& known_to = in_file.value("known_to", json());
  lines.push_back(known_to.is_number()
                      ? fmt::format("pictures farther than {:.4g} from every training image are unknown", known_to.get<double>())
                      : "unknown pictures are not recognised: too few training images to tell by");
  lines.push_back(fmt::format("made from weights {} (CRC32C {}) and data {}", in_file.value("checkpoint", none).value("file", ""),
                              in_file.value("checkpoint", none).value("crc32c", ""), in_file.value("data", none).value("fingerprint", "")));
  return lines;
}

LoadedClassifier load_classifier(const fs::path& path, at::Device device) {
  if (!fs::exists(path)) fail_usage("--classifier", kExpected, fmt::format("no {}", path.string()), "Check the path.");
  if (fs::is_directory(path))
    fail_usage("--classifier", kExpected, fmt::format("{}, a folder", path.string()), "A run is a --checkpoint, with --data.");
  const json text = classifier_in(WeightFile::open(path, FileAccess::kHeader));
  if (text.is_null())
    fail_usage("--classifier", kExpected, fmt::format("{}, weights without a classifier", path.string()),
               "Use it as --checkpoint, with --data; --save FILE then makes a classifier.");
  const SafetensorsFile file(path);
  const auto stated = file.metadata().find(kChecksum);
  const std::string found = checksum_of(file.tensors(), file.metadata());
  if (stated == file.metadata().end() || stated->second != found)
    refuse_damaged(path, fmt::format("the checksum {}", stated == file.metadata().end() ? "of a classifier" : stated->second), found);
  Classifier classifier = parse_classifier(path, file, text);
  ModelRequest request;
  request.checkpoint = path;
  request.dtype = classifier.precision;
  request.device = device;
  LoadedModel model = load_model(request);
  check_shapes(path, classifier, *model.network);
  return {std::move(model), std::move(classifier), text.value("build", json())};
}

}  // namespace dinoxx::eval
