#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <charconv>

#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "command.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/dense/attend.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx attend: attention and patch features of one image.

  dinoxx attend IMAGE --checkpoint RUN|FILE --out DIR

Writes PNGs: the input, the attention of CLS in the last block (each head and their mean), the first three principal components of the patch
features as colours, the similarity of all patches to one; overview.png has all of them, attend.json the numbers.
)";

std::pair<int64_t, int64_t> parse_patch(const std::string& text) {
  int64_t row = -1, column = -1;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, row);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ',') {
    const auto second = std::from_chars(first.ptr + 1, end, column);
    if (second.ec == std::errc() && second.ptr == end && row >= 0 && column >= 0) return {row, column};
  }
  fail_usage("--patch", "ROW,COLUMN, counted from 0", "\"" + text + "\"", "For example --patch 3,5.");
}

}  // namespace

int run_attend(int argc, char** argv) {
  eval::AttendOptions options;
  std::string checkpoint, out, patch, device;
  int64_t step = 0;
  int image_size = 0, heads = 0;
  po::options_description own("options", kHelpColumns, kHelpColumns / 2);
  own.add_options()("checkpoint", po::value(&checkpoint)->value_name("RUN|FILE"), "a run folder, a checkpoint, or weights")(
      "checkpoint-step", po::value(&step)->value_name("N"), "this checkpoint of RUN instead of the newest")(
      "out", po::value(&out)->value_name("DIR"), "where the images go")(
      "image-size", po::value(&image_size)->value_name("PIXELS"), "short side of the network's input; without it the size of training")(
      "patch", po::value(&patch)->value_name("ROW,COLUMN"),
      "patch whose similarity to all others is shown; without it the most attended one")(
      "heads", po::value(&heads)->value_name("N"), "number of attention heads, where the file does not have it");
  add_device_option(own, device);
  const auto [variables, images, help] = parse_line(argc, argv, own, kUsage);
  if (!help.empty()) {
    fmt::print("{}", help);
    return static_cast<int>(ExitCode::kDone);
  }
  if (images.size() != 1) fail_usage("dinoxx attend", "one IMAGE", std::to_string(images.size()), "See \"dinoxx attend --help\".");
  if (checkpoint.empty()) fail_usage("--checkpoint", "a run folder or a file of weights", "nothing", "See \"dinoxx attend --help\".");
  if (out.empty()) fail_usage("--out", "a folder for the images", "nothing", "See \"dinoxx attend --help\".");
  if (variables.count("image-size")) {
    if (image_size < 1 || image_size > 16384) fail_usage("--image-size", "1 to 16384", std::to_string(image_size), "Change it.");
    options.image_size = image_size;
  }
  options.model.checkpoint = checkpoint;
  if (variables.count("checkpoint-step")) options.model.step = step;
  if (variables.count("heads")) options.model.model_settings.push_back({"model.heads", std::to_string(heads), "--heads"});
  if (!patch.empty()) options.patch = parse_patch(patch);
  options.image = images.front();
  options.out = out;
  options.command_line = command_line(argc, argv);
  options.model.device = device_of(device, *make_self_communicator(), 0);
  const nlohmann::json result = eval::attend(options);
  for (const nlohmann::json& note : result["checkpoint"]["notes"]) fmt::print("  note: {}\n", note.get<std::string>());
  if (result.contains("notes"))
    for (const nlohmann::json& note : result["notes"]) fmt::print("  note: {}\n", note.get<std::string>());
  fmt::print("{}\n", (options.out / "overview.png").string());
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
