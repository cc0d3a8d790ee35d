#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <boost/program_options.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/commands.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/predict/classifier.hpp"
#include "history/checkpoint_folders.hpp"
#include "history/run_history.hpp"
#include "method/settings/own_config.hpp"
#include "model/weights/facts.hpp"
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
these, a folder with one of them or of torch.distributed.checkpoint, or a run folder's checkpoint (its teacher). Known: ViTs of DINO v1, v2, v3,
ConvNeXt and ResNet under the names of facebookresearch, timm, transformers and torchvision, bare or inside training checkpoints.

What no tensor shows (heads, epsilons, positions, mean and standard deviation of the input, ...) comes from the file's metadata, config.json and
preprocessor_config.json beside it, or from the keys --model.heads, --model.norm_eps, --model.qkv_bias, --model.position_resize,
--model.rope_base, --model.rope_periods, --model.stem_padding, --model.activation, --model.mean and --model.std ("dinoxx train --help" explains
them) and the options --image-size, --fit and --crop. Each is printed with its source; "assumed" means that nobody says it. An option that
contradicts the file, or says what the network has not, is bad usage. Exit codes: 0 done, 1 failed or different, 2 bad usage.
)";

struct Options {
  std::string action;
  std::vector<std::string> files;
  std::string out, naming;
  FactOptions which;
  ImportOptions import;
  int channels = 0;
  bool tensors = false, help = false;
  std::string help_text;
};

/// Takes the keys of facts out of the words of the line.
std::vector<Setting> take_keys(std::vector<std::string>& words) {
  std::vector<Setting> keys;
  for (size_t i = 0; i < words.size();) {
    if (!words[i].starts_with("--model.")) {
      ++i;
      continue;
    }
    const size_t equals = words[i].find('=');
    const std::string name = words[i].substr(2, equals == std::string::npos ? equals : equals - 2);
    if (std::find(fact_keys().begin(), fact_keys().end(), name) == fact_keys().end()) {
      const std::string near = nearest_name(name, fact_keys());
      fail_usage("--" + name, fmt::format("one of --{}", fmt::join(fact_keys(), ", --")), "another key",
                 near.empty() ? "The shapes of the tensors say the rest" : fmt::format("Did you mean --{}?", near));
    }
    const bool apart = equals == std::string::npos;
    if (apart && i + 1 == words.size()) fail_usage("--" + name, "a value", "nothing", "See \"dinoxx weights --help\"");
    keys.push_back({name, apart ? words[i + 1] : words[i].substr(equals + 1), "--" + name});
    const auto at = words.begin() + static_cast<std::ptrdiff_t>(i);
    words.erase(at, at + (apart ? 2 : 1));
  }
  return keys;
}

Options parse(int argc, char** argv) {
  Options o;
  std::vector<std::string> line(argv + 1, argv + argc);
  o.which.user = facts_from_keys(take_keys(line));
  int heads = 0, image_size = 0;
  po::options_description own("options", 140, 70), hidden, all;
  own.add_options()("help,h", "this text")("tensors", po::bool_switch(&o.tensors), "inspect: every tensor with its type and shape")(
      "key", po::value(&o.which.key)->value_name("PREFIX"),
      "which network of a training checkpoint: student, teacher, or a prefix; without it model_ema, else the teacher")(
      "heads", po::value(&heads)->value_name("N"), "the same as --model.heads")(
      "image-size", po::value(&image_size)->value_name("PIXELS"), "size of the images to come, instead of what the file says")(
      "fit", po::value<std::string>()->value_name("crop|whole"), "how images become the input, instead of what the file says")(
      "crop", po::value<double>()->value_name("SHARE"), "the input's size over the resized short side, likewise: 0.875 is 224 of 256")(
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
    po::store(po::command_line_parser(line).options(all).positional(positional).run(), variables);
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
  if (heads > 0) o.which.user.heads = heads;
  if (image_size > 0) o.which.user.image_size = image_size;
  if (variables.count("fit")) o.which.user.fit = variables["fit"].as<std::string>();
  if (variables.count("crop")) o.which.user.crop = variables["crop"].as<double>();
  return o;
}

/// A run folder or a checkpoint stands for its teacher.
fs::path weights_in(const fs::path& path) {
  if (!fs::is_directory(path)) return path;
  if (fs::exists(teacher_file(path))) return teacher_file(path);
  const RunHistory history(path);
  if (!history.has_checkpoints_folder()) return path;
  const std::optional<fs::path> newest = history.newest_checkpoint();
  if (!newest) fail_usage(path.string(), "a run folder with a checkpoint", "none", "Train first, or name a file of weights");
  return teacher_file(*newest);
}

std::string size_text(uint64_t bytes) {
  return bytes < 10'000'000 ? fmt::format("{:.1f} KB", static_cast<double>(bytes) / 1e3)
                            : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

void say(const Recognized& r, const std::vector<Fact>& facts, const InputFacts& input) {
  fmt::print("network    {}\n", describe(r.config));
  fmt::print("names      {}, {}{}\n", naming_name(r.naming), r.style, r.prefix.empty() ? "" : fmt::format(", under \"{}\"", r.prefix));
  if (!r.others.empty()) fmt::print("beside it  backbones under \"{}\" (--key chooses)\n", fmt::join(r.others, "\", \""));
  fmt::print("input      {} ({})\n", describe(input.normalization.values), input.normalization.source);
  for (const Fact& fact : facts) fmt::print("fact       {}\n", describe(fact));
  for (const std::string& note : r.notes) fmt::print("note       {}\n", note);
}

/// With what a training's configuration in the file says.
FactOptions with_training(const WeightFile& file, FactOptions which) {
  which.sources = said_by_training(file);
  return which;
}

/// Whether the file alone is described, so that what is wrong is the command line.
bool known_without_options(const WeightFile& file) {
  try {
    describe_network(file, with_training(file, {}));
  } catch (const UsageError&) {
    return false;
  }
  return true;
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
  counts.reserve(types.size());
  for (const auto& [type, count] : types) counts.push_back(fmt::format("{} {}", count, type));
  fmt::print("file       {}, {}, {}{}\n", file.path().string(), format_name(file.format()), size_text(file.file_bytes()),
             file.shards().size() > 1 ? fmt::format(" in {} files", file.shards().size()) : "");
  fmt::print("tensors    {} ({}), {} elements\n", file.entries().size(), fmt::join(counts, ", "), elements);
  bool known = true;
  try {
    const DescribedNetwork found = describe_network(file, with_training(file, o.which));
    say(found.network, found.facts, found.input);
  } catch (const UsageError& error) {
    if (known_without_options(file)) throw;
    fmt::print("network    not recognised: {}\n", error.what());
    known = false;
  }
  if (const nlohmann::json classifier = eval::classifier_in(file); !classifier.is_null())
    for (const std::string& line : eval::classifier_lines(classifier)) fmt::print("classifier {}\n", line);
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

/// float64 where the file has some: the other types are parts of float32, and each tensor gets its own back.
at::ScalarType widest_type(const WeightFile& file) {
  for (const WeightEntry& entry : file.entries())
    if (entry.dtype == DType::kF64) return at::kDouble;
  return at::kFloat;
}

ImportedBackbone imported_from(const std::string& given, const Options& o) {
  const fs::path path = weights_in(given);
  const WeightFile file = WeightFile::open(path, FileAccess::kHeader);
  return import_with_facts(path, widest_type(file), with_training(file, o.which), o.import, o.channels);
}

/// Before gigabytes are read: a folder that holds a model, or that cannot be made.
void refuse_a_place(const fs::path& out) {
  std::error_code code;
  if (fs::exists(out / "model.safetensors", code))
    fail_usage(out.string(), "a folder without a model", "model.safetensors", "Choose another --out, or remove it");
  fs::path there = fs::absolute(out);
  while (!fs::exists(there, code) && there != there.parent_path()) there = there.parent_path();
  if (!fs::is_directory(there, code) || ::access(there.c_str(), W_OK) != 0)
    fail_usage(out.string(), "a folder that can be made and written", there.string() + " cannot be written", "Choose another --out");
}

int convert(const Options& o) {
  const Naming naming = o.action == "import" ? Naming::kDinoxx : naming_from_name(o.naming);
  refuse_a_place(o.out);
  const ImportedBackbone imported = imported_from(o.files[0], o);
  say(imported.recognized, imported.facts, *imported.input);
  say(imported.report);
  NamedTensors state = stored_state(*imported.backbone);
  for (auto& [name, tensor] : state)
    if (const auto type = imported.report.types.find(name); type != imported.report.types.end()) tensor = tensor.to(type->second);
  const InputFacts& input = *imported.input;
  const ExportOptions options{input.normalization.values, input.normalization.assumed, input.image_size, input.fit, input.crop};
  for (const std::string& note : export_backbone(naming, imported.backbone->config(), state, o.out, options))
    fmt::print("note       {}\n", note);
  fmt::print("written    {} (names: {})\n", (fs::path(o.out) / "model.safetensors").string(), naming_name(naming));
  return 0;
}

/// Facts that the two have and that differ. The rule for positions comes with the names, and how an image is cut is no part of the network:
/// such are said and do not count. Neither does what nobody says.
int different_facts(const ImportedBackbone& a, const ImportedBackbone& b) {
  int different = 0;
  for (const Fact& first : a.facts)
    for (const Fact& second : b.facts) {
      if (first.name != second.name || first.value == second.value) continue;
      const bool colour = first.name == "mean" || first.name == "std";
      const bool counts = (!first.of_input && first.name != "position_resize") || (colour && !first.assumed && !second.assumed);
      fmt::print("  {}: {} ({}) and {} ({}){}\n", first.name, first.value, first.source, second.value, second.source,
                 counts ? "" : ", which does not count");
      different += counts;
    }
  return different;
}

int diff(const Options& o) {
  std::vector<ImportedBackbone> two;
  for (const std::string& file : o.files) two.push_back(imported_from(file, o));
  for (size_t i = 0; i < 2; ++i) {
    fmt::print("{}: {}, names {}\n", o.files[i], describe(two[i].backbone->config()), naming_name(two[i].recognized.naming));
    for (const std::string& note : two[i].recognized.notes) fmt::print("  note: {}\n", note);
  }
  std::map<std::string, at::Tensor> second;
  for (const auto& [name, tensor] : stored_state(*two[1].backbone)) second[name] = tensor;
  int different = 0;
  // classes of transformers have a mask token, also of networks without one: an export gives them zeros
  const auto only_there = [](const std::string& name, const at::Tensor& tensor) {
    if (name != "mask_token" || tensor.count_nonzero().item<int64_t>() != 0) return false;
    fmt::print("  mask_token: in one alone, zeros, used by training with masks alone; does not count\n");
    return true;
  };
  for (const auto& [name, tensor] : stored_state(*two[0].backbone)) {
    const auto other = second.find(name);
    if (other == second.end() && only_there(name, tensor)) continue;
    if (other == second.end()) {
      fmt::print("  {}: in the first alone\n", name);
      ++different;
      continue;
    }
    if (tensor.sizes() != other->second.sizes()) {
      fmt::print("  {}: [{}] and [{}]\n", name, fmt::join(tensor.sizes(), ", "), fmt::join(other->second.sizes(), ", "));
      ++different;
    } else if (!at::equal(tensor.to(at::kDouble), other->second.to(at::kDouble))) {
      const double largest = (tensor.to(at::kDouble) - other->second.to(at::kDouble)).abs().max().item<double>();
      fmt::print("  {}: values differ by up to {:.3e}\n", name, largest);
      ++different;
    }
    second.erase(other);
  }
  for (const auto& [name, tensor] : second) {
    if (only_there(name, tensor)) continue;
    fmt::print("  {}: in the second alone\n", name);
    ++different;
  }
  const int facts = different_facts(two[0], two[1]);
  fmt::print("{}{}\n", different == 0 ? "the same tensors, bit for bit" : fmt::format("{} tensors differ", different),
             facts == 0 ? "" : fmt::format("; {} facts that no tensor shows differ: not the same network", facts));
  return different == 0 && facts == 0 ? 0 : 1;
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
