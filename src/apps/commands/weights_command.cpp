#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <boost/program_options.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/commands.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/model_source.hpp"
#include "history/run_history.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx weights: backbones from and for other programs.

  dinoxx weights inspect FILE [--tensors]             what a file holds; reads no tensor
  dinoxx weights import FILE --out DIR                into dinoxx's own names: DIR/model.safetensors
  dinoxx weights export FILE --naming N --out DIR     for other tools: official, timm or transformers
  dinoxx weights diff FILE FILE                       do two files hold the same network?

FILE is a safetensors file, a .pth/.pt/.bin of torch.save of any age (read by an unpickler that executes nothing), an index of several of
these, a folder with one of them or of torch.distributed.checkpoint, or a run folder's checkpoint (its teacher). Known: ViTs of DINO v1, v2, v3, ConvNeXt and ResNet under the names of
facebookresearch, timm, transformers and torchvision, bare or inside training checkpoints. Exit codes: 0 done, 1 failed or different, 2 bad usage.
)";

struct Options {
  std::string action;
  std::vector<std::string> files;
  std::string out, naming;
  RecognizeOptions which;
  ImportOptions import;
  int channels = 0;
  bool tensors = false, help = false;
  std::string help_text;
};

Options parse(int argc, char** argv) {
  Options o;
  int heads = 0, image_size = 0;
  po::options_description own("options", 140, 70), hidden, all;
  own.add_options()("help,h", "this text")("tensors", po::bool_switch(&o.tensors), "inspect: every tensor with its type and shape")(
      "key", po::value(&o.which.key)->value_name("PREFIX"),
      "which network of a training checkpoint: student, teacher, or a prefix; without it model_ema, else the teacher")(
      "heads", po::value(&heads)->value_name("N"), "attention heads, where the file does not say")(
      "image-size", po::value(&image_size)->value_name("PIXELS"), "size of the images to come, for what the file does not say")(
      "channels", po::value(&o.channels)->value_name("N"), "input channels: the first convolution is adapted")(
      "naming", po::value(&o.naming)->value_name("NAMES"), "export: official, timm, transformers or dinoxx")(
      "out", po::value(&o.out)->value_name("DIR"), "import, export: a folder without a model")(
      "allow-missing", po::bool_switch(&o.import.allow_missing), "go on when the file lacks tensors: they keep initial values")(
      "allow-unexpected", po::bool_switch(&o.import.allow_unexpected),
      "go on when the network lacks tensors of the file: they are left out");
  hidden.add_options()("words", po::value<std::vector<std::string>>());
  all.add(own).add(hidden);
  po::positional_options_description positional;
  positional.add("words", -1);
  po::variables_map variables;
  try {
    po::store(po::command_line_parser(argc, argv).options(all).positional(positional).run(), variables);
    po::notify(variables);
  } catch (const po::error& error) {
    fail_usage("dinoxx weights", "options that it has", error.what(), "See \"dinoxx weights --help\"");
  }
  if (variables.count("help") || argc == 1) {
    std::ostringstream text;
    text << kUsage << "\n" << own;
    o.help = true;
    o.help_text = text.str();
    return o;
  }
  const auto words = variables.count("words") ? variables["words"].as<std::vector<std::string>>() : std::vector<std::string>();
  const std::vector<std::string> actions{"inspect", "import", "export", "diff"};
  if (words.empty() || std::find(actions.begin(), actions.end(), words[0]) == actions.end()) {
    const std::string near = words.empty() ? "" : nearest_name(words[0], actions);
    fail_usage("dinoxx weights", "inspect, import, export or diff", words.empty() ? "nothing" : "\"" + words[0] + "\"",
               near.empty() ? std::string("See \"dinoxx weights --help\"") : fmt::format("Did you mean {}?", near));
  }
  o.action = words[0];
  o.files.assign(words.begin() + 1, words.end());
  const size_t wanted = o.action == "diff" ? 2 : 1;
  if (o.files.size() != wanted)
    fail_usage("dinoxx weights " + o.action, fmt::format("{} file{}", wanted, wanted == 1 ? "" : "s"), std::to_string(o.files.size()),
               "See \"dinoxx weights --help\"");
  if ((o.action == "import" || o.action == "export") && o.out.empty())
    fail_usage("--out", "a folder for the result", "nothing", "Name one that holds no model");
  if (o.action == "export" && o.naming.empty())
    fail_usage("--naming", "official, timm, transformers or dinoxx", "nothing", "Choose the tool that will read it");
  if (heads < 0 || image_size < 0 || o.channels < 0) fail_usage("dinoxx weights", "positive numbers", "a negative one", "Correct it");
  if (heads > 0) o.which.heads = heads;
  if (image_size > 0) o.which.image_size = image_size;
  return o;
}

/// A run folder or a checkpoint stands for its teacher.
fs::path weights_in(const fs::path& path) {
  if (!fs::is_directory(path)) return path;
  if (fs::exists(path / "teacher.safetensors")) return path / "teacher.safetensors";
  const RunHistory history(path);
  if (!history.has_checkpoints_folder()) return path;
  const std::optional<fs::path> newest = history.newest_checkpoint();
  if (!newest) fail_usage(path.string(), "a run folder with a checkpoint", "none", "Train first, or name a file of weights");
  return *newest / "teacher.safetensors";
}

std::string size_text(uint64_t bytes) {
  return bytes < 10'000'000 ? fmt::format("{:.1f} KB", static_cast<double>(bytes) / 1e3)
                            : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

void say(const eval::InputNormalization& input) {
  fmt::print("input      {} ({})\n", describe(input.values), input.source);
}

void say(const Recognized& r) {
  fmt::print("network    {}\n", describe(r.config));
  fmt::print("names      {}, {}{}\n", naming_name(r.naming), r.style, r.prefix.empty() ? "" : fmt::format(", under \"{}\"", r.prefix));
  if (!r.others.empty()) fmt::print("beside it  backbones under \"{}\" (--key chooses)\n", fmt::join(r.others, "\", \""));
  for (const std::string& note : r.notes) fmt::print("note       {}\n", note);
}

int inspect(const Options& o) {
  const fs::path path = weights_in(o.files[0]);
  const WeightFile file = WeightFile::open(path, FileAccess::kHeader);
  uint64_t elements = 0;
  std::map<std::string, uint64_t> types;
  for (const WeightEntry& entry : file.entries()) {
    elements += entry.element_count();
    ++types[std::string(dtype_name(entry.dtype))];
  }
  std::vector<std::string> counts;
  for (const auto& [type, count] : types) counts.push_back(fmt::format("{} {}", count, type));
  fmt::print("file       {}, {}, {}{}\n", file.path().string(),
             format_name(file.format()), size_text(file.file_bytes()),
             file.shards().size() > 1 ? fmt::format(" in {} files", file.shards().size()) : "");
  fmt::print("tensors    {} ({}), {} elements\n", file.entries().size(), fmt::join(counts, ", "), elements);
  bool known = true;
  try {
    say(recognize(file, o.which));
    say(eval::input_normalization(file));
  } catch (const UsageError& error) {
    fmt::print("network    not recognised: {}\n", error.what());
    known = false;
  }
  const std::string settings = json_text(file.settings());
  if (!file.settings().empty())
    fmt::print("settings   {}{}\n", without_controls(settings.substr(0, 600)), settings.size() > 600 ? " ..." : "");
  if (o.tensors)
    for (const WeightEntry& entry : file.entries())
      fmt::print("  {}  {} [{}]{}\n", entry.name, dtype_name(entry.dtype), fmt::join(entry.shape, ", "),
                 file.shards().size() > 1 ? "  " + entry.shard : "");
  return known ? 0 : 1;
}

void say(const ImportReport& report) {
  fmt::print("loaded     {} tensors\n", report.loaded);
  const auto list = [](const char* what, const std::vector<std::string>& names) {
    for (const std::string& name : names) fmt::print("{:<10} {}\n", what, name);
  };
  list("missing", report.missing);
  list("left out", report.unexpected);
  list("not used", report.ignored);
  list("adapted", report.adapted);
}

/// In the type of the file: a copy through another type would not be the identity.
at::ScalarType type_in_file(const fs::path& path, const RecognizeOptions& which) {
  const WeightFile file = WeightFile::open(path, FileAccess::kHeader);
  const Recognized r = recognize(file, which);
  for (const auto& [name, entry] : r.tensors) {
    if (!name.ends_with("weight")) continue;
    if (entry->dtype == DType::kBF16) return at::kBFloat16;
    if (entry->dtype == DType::kF64) return at::kDouble;
    return at::kFloat;  // float16 is a part of float32
  }
  return at::kFloat;
}

int convert(const Options& o) {
  const fs::path path = weights_in(o.files[0]);
  const Naming naming = o.action == "import" ? Naming::kDinoxx : naming_from_name(o.naming);
  const ImportedBackbone imported = import_backbone(path, type_in_file(path, o.which), o.which, o.import, o.channels);
  const eval::InputNormalization input = eval::input_normalization(WeightFile::open(path, FileAccess::kHeader));
  say(imported.recognized);
  say(input);
  say(imported.report);
  ExportOptions export_options{input.values, input.assumed};
  const auto* vit = std::get_if<VitConfig>(&imported.recognized.config);
  if (o.which.image_size)
    export_options.image_size = *o.which.image_size;
  else if (vit)
    export_options.image_size = vit->image_size;
  export_backbone(naming, imported.backbone->config(), stored_state(*imported.backbone), o.out, export_options);
  fmt::print("written    {} (names: {})\n", (fs::path(o.out) / "model.safetensors").string(), naming_name(naming));
  return 0;
}

int diff(const Options& o) {
  std::vector<ImportedBackbone> two;
  for (const std::string& file : o.files) two.push_back(import_backbone(weights_in(file), at::kDouble, o.which, o.import, o.channels));
  for (size_t i = 0; i < 2; ++i)
    fmt::print("{}: {}, names {}\n", o.files[i], describe(two[i].backbone->config()), naming_name(two[i].recognized.naming));
  std::map<std::string, at::Tensor> second;
  for (const auto& [name, tensor] : stored_state(*two[1].backbone)) second[name] = tensor;
  int different = 0;
  for (const auto& [name, tensor] : stored_state(*two[0].backbone)) {
    const auto other = second.find(name);
    if (other == second.end()) {
      fmt::print("  {}: in the first alone\n", name);
      ++different;
      continue;
    }
    if (tensor.sizes() != other->second.sizes()) {
      fmt::print("  {}: [{}] and [{}]\n", name, fmt::join(tensor.sizes(), ", "), fmt::join(other->second.sizes(), ", "));
      ++different;
    } else if (!at::equal(tensor, other->second)) {
      const double largest = (tensor.to(at::kDouble) - other->second.to(at::kDouble)).abs().max().item<double>();
      fmt::print("  {}: values differ by up to {:.3e}\n", name, largest);
      ++different;
    }
    second.erase(other);
  }
  for (const auto& [name, tensor] : second) {
    fmt::print("  {}: in the second alone\n", name);
    ++different;
  }
  fmt::print("{}\n", different == 0 ? "the same tensors, bit for bit" : fmt::format("{} tensors differ", different));
  return different == 0 ? 0 : 1;
}

}  // namespace

int run_weights(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (options.help) {
    fmt::print("{}", options.help_text);
    return 0;
  }
  if (options.action == "inspect") return inspect(options);
  if (options.action == "diff") return diff(options);
  return convert(options);
}

}  // namespace dinoxx
