#include "model_options.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <sstream>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

namespace po = boost::program_options;

ModelOptions parse_model_options(int argc, char** argv, const std::string& name, po::options_description& own,
                                 const std::vector<std::string>& keys, bool with_data) {
  ModelOptions options;
  std::string checkpoint, data, precision;
  int64_t step = 0, image_size = 0, threads = 0;
  own.add_options()("help,h", "this text")("checkpoint", po::value(&checkpoint)->value_name("RUN|FILE"), "run folder or weights")(
      "checkpoint-step", po::value(&step)->value_name("N"), "this checkpoint of RUN instead of the newest")(
      "image-size", po::value(&image_size)->value_name("PIXELS"),
      with_data ? "of the network's input; without it the size of training" : "short side of the network's input; without it as said above")(
      "precision", po::value(&precision)->default_value("fp32")->value_name("fp32|bf16"), "of the network")(
      "threads", po::value(&threads)->value_name("N"), "of each rank; without it OMP_NUM_THREADS, else the rank's share of the cores");
  if (with_data) own.add_options()("data", po::value(&data)->value_name("DATA"), "packed images");
  const ConfigLine parsed = parse_config_line(argc, argv, own);
  if (parsed.variables.count("help")) {
    std::ostringstream text;
    text << own;
    options.help = text.str();
    return options;
  }
  require_option(name, checkpoint, "--checkpoint", "a run folder or a file of weights");
  if (with_data) require_option(name, data, "--data", "a folder made by \"dinoxx pack\"");
  const auto positive = [&](int64_t value, const char* option) {
    if (parsed.variables.count(option) && (value < 1 || value > 16384))
      fail_usage(fmt::format("--{}", option), "1 to 16384", std::to_string(value), "Change it.");
  };
  positive(image_size, "image-size");
  positive(threads, "threads");
  if (precision != "fp32" && precision != "bf16")
    fail_usage("--precision", "fp32 or bf16", fmt::format("\"{}\"", precision), "fp32 is the published protocol.");
  options.model.checkpoint = checkpoint;
  if (parsed.variables.count("checkpoint-step")) options.model.step = step;
  options.model.dtype = precision == "bf16" ? at::kBFloat16 : at::kFloat;
  options.data = data;
  if (image_size > 0) options.image_size = static_cast<int>(image_size);
  options.threads = static_cast<int>(threads);
  for (const Setting& setting : parsed.settings) {
    if (setting.key.starts_with("model.")) {
      options.model.model_settings.push_back(setting);
    } else if (std::find(keys.begin(), keys.end(), setting.key) != keys.end()) {
      options.settings.push_back(setting);
    } else {
      const std::string others = keys.empty() ? " or --model.*" : fmt::format(", --model.* or --{}", fmt::join(keys, ", --"));
      fail_usage(setting.where, fmt::format("options of {}{}", name, others), "a key of training",
                 fmt::format("See \"dinoxx {} --help\".", name));
    }
  }
  return options;
}

void require_option(const std::string& name, const std::string& value, const char* option, const char* expected) {
  if (value.empty()) fail_usage(option, expected, "nothing", fmt::format("See \"dinoxx {} --help\".", name));
}

std::function<void(int64_t, int64_t)> progress_line(const std::string& name, bool shown) {
  if (!shown) return {};
  using Clock = std::chrono::steady_clock;
  struct State {
    std::mutex mutex;
    bool terminal = ::isatty(STDERR_FILENO) != 0;
    Clock::time_point start = Clock::now(), shown = start;
  };
  return [name, state = std::make_shared<State>()](int64_t done, int64_t total) {
    const std::lock_guard lock(state->mutex);
    const auto now = Clock::now();
    const bool last = state->terminal && done == total;
    if (!last && std::chrono::duration<double>(now - state->shown).count() < (state->terminal ? 0.5 : 10.0)) return;
    state->shown = now;
    const double rate = static_cast<double>(done) / std::chrono::duration<double>(now - state->start).count();
    fmt::print(stderr, "{}{} {} of {} images, {:.1f} images/s, {:.0f} s left{}", state->terminal ? "\r" : "", name, done, total, rate,
               static_cast<double>(total - done) / rate, !state->terminal || last ? "\n" : "   ");
    std::fflush(stderr);
  };
}

}  // namespace dinoxx
