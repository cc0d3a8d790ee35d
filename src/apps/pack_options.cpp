#include "pack_options.hpp"

#include <boost/program_options.hpp>
#include <charconv>
#include <cmath>
#include <sstream>

#include "commands/command.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

/// "512M" to bytes; K, M, G count in 1024s.
uint64_t parse_bytes(const std::string& text) {
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = std::string::npos;
  }
  uint64_t unit = 0;
  if (used == text.size())
    unit = 1;
  else if (used != std::string::npos && used + 1 == text.size()) {
    const std::string_view units = "KMG";
    const size_t at = units.find(text.back());
    if (at != std::string_view::npos) unit = uint64_t{1} << (10 * (at + 1));
  }
  if (unit == 0 || !(value > 0 && value * static_cast<double>(unit) < 1e15)) {
    fail_usage("--shard-bytes", "a size like 512M", fmt::format("\"{}\"", text), "K, M and G are units");
  }
  return static_cast<uint64_t>(std::llround(value * static_cast<double>(unit)));
}

Tolerance parse_tolerance(const std::string& text) {
  if (text == "strict") return Tolerance::kStrict;
  if (text == "pixels") return Tolerance::kPixels;
  if (text == "lenient") return Tolerance::kLenient;
  fail_usage("--tolerance", "strict, pixels or lenient", fmt::format("\"{}\"", text), "See \"dinoxx pack --help\"");
}

int parse_used_bits(const std::string& text) {
  if (text == "auto") return 0;
  int bits = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || bits < 8 || bits > 16) {
    fail_usage("--used-bits", "8 to 16, or auto", fmt::format("\"{}\"", text), "A camera of 12 bits needs 12");
  }
  return bits;
}

po::variables_map parse(int argc, char** argv, const po::options_description& options) {
  po::variables_map variables;
  try {
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    po::store(po::command_line_parser(argc, argv).options(options).positional({}).style(style).run(), variables);
    po::notify(variables);
  } catch (const po::unknown_option& error) {
    std::vector<std::string> names;
    for (const auto& option : options.options()) names.push_back(option->long_name());
    std::string name = error.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    const std::string near = nearest_name(name, names);
    fail_usage("option", "one of those in \"dinoxx pack --help\"", "--" + name,
               near.empty() ? "" : fmt::format("Did you mean --{}?", near));
  } catch (const po::error& error) {
    fail_usage("command line", "options as in \"dinoxx pack --help\"", error.what(), "");
  }
  return variables;
}

}  // namespace

PackLine read_pack_line(int argc, char** argv) {
  PackLine line;
  PackOptions& asked = line.options;
  std::string folder, list, toy, out, shard_bytes, tolerance, used_bits;
  bool no_split_folders = false;
  po::options_description options("options", 110);
  options.add_options()("help,h", "this text")("from-folder", po::value(&folder)->value_name("DIR"),
                                               "images in class folders, in split folders, or loose")(
      "list", po::value(&list)->value_name("CSV"), "images named by a table")(
      "label-separator", po::value(&asked.label_separator)->value_name("TEXT"),
      "--list: what stands between the labels of a column \"labels\", several an image; without it ; or | as found")(
      "toy", po::value(&toy)->value_name("NAME"), "drawn set: textures or scenes")(
      "out", po::value(&out)->value_name("DATA"), "data folder to make")("overwrite", po::bool_switch(&asked.overwrite),
                                                                         "replace DATA if it is a data folder")(
      "append", po::bool_switch(&asked.append), "add the images that DATA does not have, by their names; the others stay as they are")(
      "count", po::value(&asked.toy.count)->default_value(asked.toy.count)->value_name("N"),
      "--toy: images in total; a tenth each goes to val and test")(
      "size", po::value(&asked.toy.size)->default_value(asked.toy.size)->value_name("PIXELS"), "--toy: width and height")(
      "imbalance", po::value(&asked.toy.imbalance)->default_value(asked.toy.imbalance)->value_name("R"),
      "--toy: the first class has R times the images of the last")("seed", po::value(&asked.seed)->default_value(0)->value_name("S"),
                                                                   "order of the images, what is held out, and what is drawn")(
      "long-tail", po::value(&asked.long_tail)->default_value(0)->value_name("R"),
      "thin out the training images, class by class, until the last class has 1/R of the first (100: the usual long-tailed CIFAR)")(
      "val-fraction", po::value(&asked.val_fraction)->default_value(0)->value_name("F"),
      "share of each class of train held out as val, when the input has no val split; groups and copies of a picture stay together")(
      "test-fraction", po::value(&asked.test_fraction)->default_value(0)->value_name("F"), "the same for test")(
      "max-bad-fraction", po::value(&asked.max_bad_fraction)->default_value(0.01, "0.01")->value_name("F"),
      "more bad images than this share are an error")("no-split-folders", po::bool_switch(&no_split_folders),
                                                      "folders named train, val, test ... are classes")(
      "strict", po::bool_switch(&asked.strict), "a warning is an error: nothing is written")(
      "tolerance", po::value(&tolerance)->default_value("pixels")->value_name("LEVEL"),
      "files with faults that are packed. strict: none; pixels: those whose pixels are all there; lenient: also those that lost a part of "
      "them, what is left as PNG")(
      "used-bits", po::value(&used_bits)->default_value("16")->value_name("N"),
      "16-bit PNG whose values need N bits only (12: many cameras): scaled, and packed as 8-bit PNG; auto: the bits "
      "of the largest value of all")("max-pixels", po::value(&asked.max_pixels)->default_value(asked.max_pixels)->value_name("N"),
                                     "larger images are bad")(
      "shard-bytes", po::value(&shard_bytes)->default_value("512M")->value_name("SIZE"),
      "size of a shard; as much memory is used, beside the images that are decoded")(
      "threads", po::value(&asked.threads)->default_value(0)->value_name("N"), "decoding threads; 0 = all cores");
  const po::variables_map variables = parse(argc, argv, options);
  if (variables.count("help") != 0) {
    std::stringstream text;
    text << options;
    line.help = text.str();
    return line;
  }
  const int sources = (folder.empty() ? 0 : 1) + (list.empty() ? 0 : 1) + (toy.empty() ? 0 : 1);
  if (sources != 1) {
    fail_usage("input", "one of --from-folder, --list and --toy", sources == 0 ? "none" : fmt::format("{} of them", sources),
               "See \"dinoxx pack --help\"");
  }
  if (out.empty()) fail_usage("--out", "a data folder to make", "nothing", "See \"dinoxx pack --help\"");
  for (const char* option : {"count", "size", "imbalance"}) {
    if (toy.empty() && !variables[option].defaulted())
      fail_usage(fmt::format("--{}", option), "--toy beside it", "another input", "It says what is drawn");
  }
  if (!asked.label_separator.empty() && list.empty()) fail_usage("--label-separator", "--list beside it", "another input", "Leave it out");
  asked.source = !folder.empty() ? PackOptions::Source::kFolder : !list.empty() ? PackOptions::Source::kList : PackOptions::Source::kToy;
  if (no_split_folders && folder.empty()) fail_usage("--no-split-folders", "--from-folder beside it", "another input", "Leave it out");
  asked.split_folders = !no_split_folders;
  asked.input = folder.empty() ? list : folder;
  if (!toy.empty()) asked.toy.name = toy;
  asked.toy.seed = asked.seed;
  asked.out = out;
  asked.shard_bytes = parse_bytes(shard_bytes);
  asked.tolerance = parse_tolerance(tolerance);
  asked.used_bits = parse_used_bits(used_bits);
  asked.command = command_line(argc, argv);
  return line;
}

}  // namespace dinoxx
