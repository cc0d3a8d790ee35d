#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>
#include <vector>

#include "base/failure.hpp"
#include "build_info.hpp"
#include "commands.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/runtime.hpp"
#include "kernels/cpu_level.hpp"

namespace {

using namespace dinoxx;

struct Command {
  std::string_view name, help;
  int (*run)(int, char**);
  bool on_ranks;  // several share the work; others are one process's
};
const std::vector<Command> kCommands{
    {"pack", "image files into a packed data set, read fast and checked", run_pack, false},
    {"plan", "what a training takes on so many GPUs: memory, time, communication, price; what fits", run_plan, false},
    {"train", "learn features from packed images without labels", run_train, true},
    {"eval", "what the features are worth: nearest neighbours, few-shot, linear classifiers, fine-tuning, segmentation", run_eval, true},
    {"attend", "attention, principal components and similarity of the patches of one image", run_attend, false},
    {"propagate", "label propagation in videos: labels of the first frame carried on by similar patches", run_propagate, true},
    {"match", "point matching between pairs of images by nearest patches", run_match, true},
    {"embed", "features of images as .npy or HDF5, for other programs", run_embed, true},
    {"predict", "classes of a folder of images, with calibrated probabilities", run_predict, true},
    {"report", "a page about a training run or an evaluation", run_report, false},
    {"compare", "training runs, or evaluations of several backbones, side by side", run_compare, false},
    {"weights", "backbones from and for other programs: inspect, import, export, compare", run_weights, false},
    {"doctor", "whether these machines can do the work: ranks, cores, GPUs, links, storage, and what to fix", run_doctor, true},
    {"info", "what this build, a data set or a run folder is", run_info, false},
};

void print_help() {
  fmt::print(
      "dinoxx trains vision models by self-distillation without labels and shows what the features are worth.\n\n"
      "  dinoxx pack --from-folder IMAGES --out DATA                                    1. pack the images once\n"
      "  mpirun -n 2 dinoxx train --config FILE --data DATA --out RUN                   2. train; the same command resumes\n"
      "  mpirun -n 2 dinoxx eval --checkpoint RUN --data DATA --protocol knn --out DIR  3. evaluate, DIR/results.json\n"
      "  dinoxx info --run RUN                                                          4. look\n\n"
      "One process needs no mpirun. Commands, each with --help:\n");
  for (const Command& command : kCommands) fmt::print("  {:<9} {}\n", command.name, command.help);
  fmt::print("\nExit codes: 0 done, 1 failed, 2 bad usage or configuration, 85 stopped on request, run the same command to go on.\n");
}

int dispatch(int argc, char** argv, const LaunchedTasks& tasks) {
  const std::string_view name = argc < 2 ? "" : argv[1];
  // What all ranks would say is said once.
  if (tasks.rank > 0 && std::none_of(kCommands.begin(), kCommands.end(), [&](const Command& c) { return c.name == name && c.on_ranks; }))
    return static_cast<int>(ExitCode::kDone);
  if (argc < 2) {
    print_help();
    return static_cast<int>(ExitCode::kUsage);
  }
  if (name == "--help" || name == "-h" || name == "help") {
    print_help();
    return 0;
  }
  if (name == "--version") {
    const auto build = build_info();
    fmt::print("dinoxx {} ({}), LibTorch {}, {} CUDA\n", build["dinoxx"].get<std::string>(), build["git"].get<std::string>(),
               build["libtorch"].get<std::string>(), build["cuda"].get<bool>() ? "with" : "without");
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (name == command.name) {
      if (!command.on_ranks && tasks.count > 1)
        fmt::print(stderr, "note: {} is the work of one process: {} of the {} ranks have nothing to do\n", name, tasks.count - 1,
                   tasks.count);
      if (!command.on_ranks || tasks.count == 1) cpu_level();  // a wrong DINOXX_SIMD ends here; on several ranks run_under_mpi() asks
      return command.run(argc - 1, argv + 1);
    }
    names.emplace_back(command.name);
  }
  const std::string near = nearest_name(name, names);
  fail_usage("command", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? "See \"dinoxx --help\"" : fmt::format("Did you mean {}?", near));
}

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// As the standard library's own, which other forms of new use, but the size that failed is remembered: std::bad_alloc does not tell it.
void* operator new(std::size_t size) {
  for (;;) {
    if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
    if (const std::new_handler handler = std::get_new_handler()) {
      handler();
      continue;
    }
    note_failed_allocation(size);
    throw std::bad_alloc();
  }
}
#endif

int main(int argc, char** argv) {
  // a stream that was closed before the start: else the run's own first file would take its place, and hold what is meant for the terminal
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream)
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", O_RDWR);  // takes the lowest free number
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files (ulimit -f) is an error of the write, which says which file
  const LaunchedTasks tasks = launched_tasks();
  try {
    return dispatch(argc, argv, tasks);
  } catch (const Error& error) {
    // before there is MPI the ranks cannot agree on who says what is wrong with the command line, the same for all
    if (tasks.rank == 0 || error.exit_code() != ExitCode::kUsage) fmt::print(stderr, "dinoxx: {}\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    fmt::print(stderr, "dinoxx: {}\n", failure_text(error, "unexpected failure: "));
    return static_cast<int>(ExitCode::kFailed);
  }
}
