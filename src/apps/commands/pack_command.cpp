#include <unistd.h>

#include <boost/program_options.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "apps/commands.hpp"
#include "base/signals.hpp"
#include "command.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    R"(dinoxx pack: packs images into a data folder, once, so that training reads them fast and finds every damaged byte.

  dinoxx pack --from-folder photos --out data             photos/cat/1.jpg, photos/dog/2.png: the folder's name is the label
  dinoxx pack --from-folder photos --out data --val-fraction 0.1 --test-fraction 0.2
  dinoxx pack --from-folder set --out data                set/train/cat/1.jpg, set/val/..., set/test/...: splits are taken over
  dinoxx pack --from-folder unsorted --out data           unsorted/1.jpg: no labels; enough for training
  dinoxx pack --list images.csv --out data                header path,label,label2,split,group,mask,weight; all but path optional
                                                          an image has one class in a label column; there is no multi-label
  dinoxx pack --toy textures --count 6000 --out data      a drawn set for a first try

JPEG and PNG. Every image is decoded once to prove it; bad ones are left out and listed in data/bad.csv. The folder appears when it is complete.
Look at it with "dinoxx info --data data".
)";

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
  if (used == text.size()) unit = 1;
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
    fail_usage("option", "one of those in \"dinoxx pack --help\"", "--" + name, near.empty() ? "" : fmt::format("Did you mean --{}?", near));
  } catch (const po::error& error) {
    fail_usage("command line", "options as in \"dinoxx pack --help\"", error.what(), "");
  }
  return variables;
}

/// One line that is rewritten on a terminal, a line every ten seconds in a file.
class ProgressLine {
 public:
  void operator()(const PackProgress& p) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    if (std::chrono::duration<double>(now - shown_).count() < (terminal_ ? 0.2 : 10.0)) return;
    shown_ = now;
    const double rate = static_cast<double>(p.done) / seconds;
    fmt::print(stderr, "{}pack {} of {} images, {} bad, {:.1f} MB, {:.0f} images/s, {:.0f} s left{}", terminal_ ? "\r" : "", p.done, p.total, p.bad,
               static_cast<double>(p.bytes) * 1e-6, rate, static_cast<double>(p.total - p.done) / rate, terminal_ ? "   " : "\n");
    written_ = true;
  }
  ~ProgressLine() {
    if (terminal_ && written_) fmt::print(stderr, "\n");
  }

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_ = ::isatty(STDERR_FILENO) != 0, written_ = false;
  Clock::time_point start_ = Clock::now(), shown_ = start_;
};

void print_report(const PackReport& report, const std::string& out) {
  for (const std::string& warning : report.warnings) fmt::print("warning: {}\n", warning);
  fmt::print("{}: {} images (train {}, val {}, test {}), {} classes, {:.1f} MB in {} shard{}, fingerprint {}\n", out, report.samples, report.split_count[0],
             report.split_count[1], report.split_count[2], report.classes, static_cast<double>(report.bytes) * 1e-6, report.shards, report.shards == 1 ? "" : "s",
             report.fingerprint);
}

}  // namespace

int run_pack(int argc, char** argv) {
  PackOptions pack_options;
  std::string folder, list, toy, out, shard_bytes;
  po::options_description options("options", 110);
  options.add_options()("help,h", "this text")("from-folder", po::value(&folder)->value_name("DIR"), "images in class folders, in split folders, or loose")(
      "list", po::value(&list)->value_name("CSV"), "images named by a table")("toy", po::value(&toy)->value_name("NAME"), "drawn set: textures")(
      "out", po::value(&out)->value_name("DATA"), "data folder to make")("overwrite", po::bool_switch(&pack_options.overwrite), "replace DATA if it is a data folder")(
      "count", po::value(&pack_options.toy.count)->default_value(pack_options.toy.count)->value_name("N"), "--toy: images in all; a tenth each goes to val and test")(
      "size", po::value(&pack_options.toy.size)->default_value(pack_options.toy.size)->value_name("PIXELS"), "--toy: width and height")(
      "imbalance", po::value(&pack_options.toy.imbalance)->default_value(pack_options.toy.imbalance)->value_name("R"),
      "--toy: the first class has R times the images of the last")(
      "seed", po::value(&pack_options.seed)->default_value(0)->value_name("S"), "order of the images, what is held out, and what is drawn")(
      "long-tail", po::value(&pack_options.long_tail)->default_value(0)->value_name("R"),
      "thin out the training images, class by class, until the last class has 1/R of the first (100: the usual long-tailed CIFAR)")(
      "val-fraction", po::value(&pack_options.val_fraction)->default_value(0)->value_name("F"), "share of each class held out as val, when the input has no splits")(
      "test-fraction", po::value(&pack_options.test_fraction)->default_value(0)->value_name("F"), "the same for test")(
      "max-bad-fraction", po::value(&pack_options.max_bad_fraction)->default_value(0.01, "0.01")->value_name("F"), "more bad images than this share are an error")(
      "max-pixels", po::value(&pack_options.max_pixels)->default_value(pack_options.max_pixels)->value_name("N"), "larger images are bad")(
      "shard-bytes", po::value(&shard_bytes)->default_value("512M")->value_name("SIZE"), "size of a shard; as much memory is used")(
      "threads", po::value(&pack_options.threads)->default_value(0)->value_name("N"), "decoding threads; 0 = all cores");
  const po::variables_map variables = parse(argc, argv, options);
  if (variables.count("help") != 0) {
    std::stringstream text;
    text << options;
    fmt::print("{}\n{}", kUsage, text.str());
    return static_cast<int>(ExitCode::kDone);
  }
  const int sources = (folder.empty() ? 0 : 1) + (list.empty() ? 0 : 1) + (toy.empty() ? 0 : 1);
  if (sources != 1) {
    fail_usage("input", "one of --from-folder, --list and --toy", sources == 0 ? "none" : fmt::format("{} of them", sources), "See \"dinoxx pack --help\"");
  }
  if (out.empty()) fail_usage("--out", "a data folder to make", "nothing", "See \"dinoxx pack --help\"");
  for (const char* option : {"count", "size", "imbalance"}) {
    if (toy.empty() && !variables[option].defaulted()) fail_usage(fmt::format("--{}", option), "--toy beside it", "another input", "It says what is drawn");
  }
  pack_options.source = !folder.empty() ? PackOptions::Source::kFolder : !list.empty() ? PackOptions::Source::kList : PackOptions::Source::kToy;
  pack_options.input = folder.empty() ? list : folder;
  if (!toy.empty()) pack_options.toy.name = toy;
  pack_options.toy.seed = pack_options.seed;
  pack_options.out = out;
  pack_options.shard_bytes = parse_bytes(shard_bytes);
  pack_options.command = command_line(argc, argv);
  PackReport report;
  {
    const StopSignals signals;
    pack_options.stop = [&] { return signals.received() != nullptr; };
    ProgressLine line;
    pack_options.progress = [&](const PackProgress& p) { line(p); };
    report = pack(pack_options);
  }
  print_report(report, out);
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
