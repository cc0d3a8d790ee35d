#include "apps/build_info.hpp"
#include "apps/commands.hpp"
#include "base/machine.hpp"
#include "comm/agree.hpp"
#include "command.hpp"
#include "dinoxx/base/error.hpp"
#include "doctor/doctor.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx doctor: whether these machines can do the work, and what to fix.

  dinoxx doctor [--data DATA] [--run RUN]                      one process
  mpirun -n 8 dinoxx doctor --data DATA --run RUN              as a run would be started, with the same options of mpirun
  srun --mpi=pmix dinoxx doctor --data DATA --run RUN --json   the same in a Slurm job, for a program to read

Half a minute, with the ranks of a run: versions and where the libraries come from; which rank is where, on which cores and GPU; clocks and limits;
latency and bandwidth of each collective, and pairs of hosts; how fast DATA is read and RUN is written; one training step on synthetic data. Nothing
is left in the folders. It ends with a verdict: each finding says what was expected, what was found and what to do.
Exit codes: 0 nothing has to be fixed (warnings and notes may stand there), 1 a fault was found or the examination failed, 2 bad usage.
)";

doctor::Options parse(int argc, char** argv, std::string& help) {
  doctor::Options options;
  std::string data, run;
  po::options_description own("options", kHelpColumns, kHelpColumns / 2);
  own.add_options()("data", po::value(&data)->value_name("DATA"), "a folder made by \"dinoxx pack\": measure how fast it is read")(
      "run", po::value(&run)->value_name("RUN"), "a run folder, or the folder in which runs are made: measure how fast it is written")(
      "json", po::bool_switch(&options.json), "one JSON document instead of text")(
      "patience", po::value(&options.patience)->default_value(30)->value_name("SECONDS"),
      "how long to wait for ranks and hosts that do not answer, at least 1");
  const PlainLine line = parse_line(argc, argv, own, kUsage, "options as in \"dinoxx doctor --help\"", 0);
  help = line.help;
  if (!(options.patience >= 1 && options.patience <= 86400))
    fail_usage("--patience", "1 to 86400 seconds", fmt::format("{}", options.patience), "See \"dinoxx doctor --help\"");
  for (const auto& [name, value] : {std::pair("data", data), std::pair("run", run)})
    if (line.variables.count(name) && value.empty())
      fail_usage(fmt::format("--{}", name), "a folder", "nothing", "See \"dinoxx doctor --help\"");
  options.data = data;
  options.run = run;
  return options;
}

}  // namespace

int run_doctor(int argc, char** argv) {
  std::string help;
  doctor::Options options = parse(argc, argv, help);
  const LaunchedTasks tasks = launched_tasks();
  if (!help.empty()) {
    if (tasks.rank == 0) fmt::print("{}", help);
    return static_cast<int>(ExitCode::kDone);
  }
  doctor::StageWatch watch(tasks.rank);  // a host that does not answer already holds the start of MPI
  watch.begin("the start of MPI", options.patience);
  std::optional<MpiRuntime> mpi;
  try {
    mpi.emplace(&argc, &argv);
  } catch (const Error& error) {
    throw Error(fmt::format("rank {} on host {}: {}", tasks.rank, host_name(), error.what()));
  }
  return run_under_mpi(*mpi, [&] {
    options.process = {mpi->rank(), mpi->local_rank(), -1, build_info()};
    options.threads = cores_of_rank(mpi->local_size());
    options.make_communicator = [&] { return mpi->make_communicator(); };
    const int code = doctor::examine(options, watch);
    watch.begin("the end of MPI", options.patience);
    return code;
  });
}

}  // namespace dinoxx
