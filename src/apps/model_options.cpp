#include "model_options.hpp"

#include <ATen/Context.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "build_info.hpp"
#include "comm/agree.hpp"
#include "comm/device_choice.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

// What is typed for any network.
struct Typed {
  std::vector<std::string> checkpoints;
  std::string data, precision, device, fit;
  int64_t step = 0, image_size = 0, threads = 0;
  double crop = 0;

  void add_to(po::options_description& own, bool with_data, bool several) {
    own.add_options()("help,h", "this text")(
        "checkpoint", po::value(&checkpoints)->value_name("RUN|FILE"),
        several ? "run folder or weights; several times: one after the other, then side by side" : "run folder or weights")(
        "checkpoint-step", po::value(&step)->value_name("N"), "this checkpoint of RUN instead of the newest")(
        "image-size", po::value(&image_size)->value_name("PIXELS"),
        with_data ? "of the network's input; without it the size of training"
                  : "short side of the network's input; without it as said above")(
        "precision", po::value(&precision)->default_value("fp32")->value_name("fp32|bf16"), "of the network")(
        "threads", po::value(&threads)->value_name("N"), "of each rank; without it OMP_NUM_THREADS, else the rank's share of the cores");
    add_device_option(own, device);
    if (!with_data) return;
    own.add_options()("data", po::value(&data)->value_name("DATA"), "packed images")(
        "fit", po::value(&fit)->default_value("crop")->value_name("crop|whole"),
        "crop: short side to 256/224 of the input and its centre, as published; whole: all of the image, resized to a square")(
        "crop", po::value(&crop)->value_name("SHARE"), "fit crop: the input's share of the resized short side; without it 224 of 256");
  }
};

void require_value(const std::string& name, const std::string& value, const char* option, const char* expected) {
  if (value.empty()) fail_usage(option, expected, "nothing", fmt::format("See \"dinoxx {} --help\".", name));
}

// The settings of the command's own keys; those that describe the network go to `model`.
std::vector<Setting> sort_settings(const std::vector<Setting>& typed, const ModelCommand& command, eval::ModelRequest& model) {
  std::vector<Setting> own;
  const std::vector<std::string>& keys = command.keys();
  for (const Setting& setting : typed) {
    if (setting.key.starts_with("model.")) {
      model.model_settings.push_back(setting);
    } else if (std::find(keys.begin(), keys.end(), setting.key) != keys.end()) {
      own.push_back(setting);
    } else {
      const std::string others = keys.empty() ? " or --model.*" : fmt::format(", --model.* or --{}", fmt::join(keys, ", --"));
      fail_usage(setting.where, fmt::format("options of {}{}", command.name(), others), "a key of training",
                 fmt::format("See \"dinoxx {} --help\".", command.name()));
    }
  }
  return own;
}

// Nothing that the file has said already.
void refuse_beside(const ModelCommand::StandIn& stand_in, const ConfigLine& parsed) {
  const auto refuse = [&](const std::string& option) {
    fail_usage("--" + stand_in.option, fmt::format("no options beside it but --{}", fmt::join(stand_in.with, ", --")), "--" + option,
               "The file says it: leave the option out, or make the file anew.");
  };
  for (const auto& [name, value] : parsed.variables)
    if (name != stand_in.option && !value.defaulted() && std::ranges::find(stand_in.with, name) == stand_in.with.end()) refuse(name);
  if (!parsed.settings.empty()) refuse(parsed.settings.front().key);
}

// Reads the line into the command's options. Returns the help when that was asked for, and then nothing else is done. `device`: as typed.
std::string parse(int argc, char** argv, ModelCommand& command, int cores, std::string& device) {
  const bool with_data = command.data() != nullptr;
  po::options_description own("options", kHelpColumns, kHelpColumns / 2);
  Typed typed;
  command.add_options(own);
  typed.add_to(own, with_data, command.checkpoints() != nullptr);
  const ConfigLine parsed = parse_config_line(argc, argv, own);
  if (parsed.variables.count("help")) {
    std::ostringstream text;
    text << command.usage() << "\n" << own;
    return text.str();
  }
  const std::optional<ModelCommand::StandIn> stand_in = command.stand_in();
  if (stand_in) refuse_beside(*stand_in, parsed);
  if (!stand_in)
    for (const std::string& checkpoint : typed.checkpoints.empty() ? std::vector<std::string>{""} : typed.checkpoints)
      require_value(command.name(), checkpoint, "--checkpoint", "a run folder or a file of weights");
  if (typed.checkpoints.size() > 1 && !command.checkpoints())
    fail_usage("--checkpoint", "one network", std::to_string(typed.checkpoints.size()),
               fmt::format("dinoxx {} takes one; dinoxx eval takes several.", command.name()));
  if (with_data && !stand_in) require_value(command.name(), typed.data, "--data", "a folder made by \"dinoxx pack\"");
  const auto positive = [&](int64_t value, const char* option) {
    if (parsed.variables.count(option) && (value < 1 || value > 16384))
      fail_usage(fmt::format("--{}", option), "1 to 16384", std::to_string(value), "Change it.");
  };
  positive(typed.image_size, "image-size");
  positive(typed.threads, "threads");
  if (typed.precision != "fp32" && typed.precision != "bf16")
    fail_usage("--precision", "fp32 or bf16", fmt::format("\"{}\"", typed.precision), "fp32 is the published protocol.");
  device = typed.device;

  if (with_data && typed.fit != "crop" && typed.fit != "whole")
    fail_usage("--fit", "crop or whole", fmt::format("\"{}\"", typed.fit), "crop is the published protocol.");

  const bool crops = parsed.variables.count("crop") > 0;
  if (crops && !(typed.crop >= 0.05 && typed.crop <= 1))
    fail_usage("--crop", "0.05 to 1", fmt::format("{}", typed.crop), "1 shows all of the short side.");
  if (crops && typed.fit == "whole") fail_usage("--crop", "fit crop", "--fit whole", "Leave one of them out: a whole image is not cut.");

  eval::NetworkRun& run = command.network_run();
  if (!typed.checkpoints.empty()) run.model.checkpoint = typed.checkpoints.front();
  if (command.checkpoints()) command.checkpoints()->assign(typed.checkpoints.begin(), typed.checkpoints.end());
  if (parsed.variables.count("checkpoint-step")) run.model.step = typed.step;
  run.model.dtype = typed.precision == "bf16" ? at::kBFloat16 : at::kFloat;
  if (typed.image_size > 0) run.image_size = static_cast<int>(typed.image_size);
  run.whole = typed.fit == "whole";
  if (crops) run.crop = run.model.crop = typed.crop;
  if (with_data && (crops || !parsed.variables["fit"].defaulted())) run.model.fit = typed.fit;
  run.threads = typed.threads > 0 ? static_cast<int>(typed.threads) : cores;
  run.command_line = command_line(argc, argv);
  run.build = build_info();
  if (with_data) *command.data() = typed.data;
  command.check(sort_settings(parsed.settings, command, run.model));
  return {};
}

}  // namespace

void ModelCommand::require(const std::string& value, const char* option, const char* expected) const {
  require_value(name_, value, option, expected);
}

void add_device_option(po::options_description& own, std::string& device) {
  own.add_options()("device", po::value(&device)->default_value("auto")->value_name("auto|cpu|cuda"),
                    "where the network computes; auto: a GPU for each rank where there are GPUs");
}

at::Device device_of(const std::string& typed, Communicator& comm, int local_rank) {
  on_all_ranks(comm, [&] {
    if (typed != "auto" && typed != "cpu" && typed != "cuda")
      fail_usage("--device", "auto, cpu or cuda", fmt::format("\"{}\"", typed), "auto takes GPUs where there are some.");
  });
  const at::Device device = choose_device(typed, "device", comm, local_rank);
  at::globalContext().setAllowTF32CuBLAS(false);  // the numbers of the CPU, up to rounding in float32
  at::globalContext().setAllowTF32CuDNN(false);
  if (device.is_cuda() && comm.rank() == 0) fmt::print(stderr, "device: {}\n", device_line(device));
  return device;
}

int run_model_command(int argc, char** argv, ModelCommand& command) {
  return run_with_mpi(argc, argv, [&](MpiRuntime& mpi, Communicator& comm) {
    std::string help, device;
    on_all_ranks(comm, [&] { help = parse(argc, argv, command, cores_of_rank(mpi.local_size()), device); });
    if (!help.empty()) {
      if (comm.rank() == 0) fmt::print("{}", help);
      return;
    }
    command.network_run().model.device = device_of(device, comm, mpi.local_rank());
    command.run(comm);
  });
}

}  // namespace dinoxx
