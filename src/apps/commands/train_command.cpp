#include <boost/program_options.hpp>

#include "apps/build_info.hpp"
#include "apps/commands.hpp"
#include "apps/eval_hook.hpp"
#include "apps/plan_hook.hpp"
#include "base/json_text.hpp"
#include "base/machine.hpp"
#include "base/signals.hpp"
#include "comm/agree.hpp"
#include "comm/gather.hpp"
#include "command.hpp"
#include "config/config_options.hpp"
#include "dinoxx/base/error.hpp"
#include "doctor/stage_watch.hpp"
#include "history/run_history.hpp"
#include "method/settings/config_help.hpp"
#include "method/settings/unread_keys.hpp"
#include "report/run/run_report.hpp"
#include "train/start/device.hpp"
#include "train/start/students.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx train: learns features from images without labels.

  dinoxx train --config FILE --data DATA --out RUN [options]               one process
  mpirun -n 8 dinoxx train --config FILE --data DATA --out RUN [options]   eight ranks
  mpirun -n 8 dinoxx train --config FILE --data DATA --out RUN --check     start-up and first steps only: will it work, how long, how much memory
  mpirun -n 8 dinoxx train --config FILE --students small.cfg:2,base.cfg:6 --data DATA --out RUN   two students of one frozen teacher

DATA is a folder made by "dinoxx pack". RUN gets config.cfg, metrics.jsonl, TensorBoard events and checkpoints/; the same command again resumes it.
SIGUSR1, SIGUSR2, SIGTERM or SIGXCPU: the run saves, stops with exit code 85 and can be resumed; one process without mpirun also when its terminal
or the reader of its output is gone.
Other exit codes: 0 done, 1 failed, 2 bad usage. A run that came to its end leaves RUN/complete.json.
)";

struct Line {
  TrainOptions options;
  std::vector<Student> students;  ///< several in one job; none: one run on all ranks
  std::string answer;             ///< text to print instead of training
};

Line parse(int argc, char** argv) {
  Line line;
  TrainOptions& options = line.options;
  std::string config, students, data, out, max_time;
  po::options_description run("the run", 140, 70);
  run.add_options()("help,h", "this text")("print-config", "print the configuration with all its keys and stop")(
      "config", po::value(&config)->value_name("FILE"), "INI file; without one the defaults below")(
      "data", po::value(&data)->value_name("DATA"), "packed images")("out", po::value(&out)->value_name("RUN"),
                                                                     "run folder, made if need be")(
      "students", po::value(&students)->value_name("A.cfg:2,B.cfg:6"),
      "with a frozen teacher: several students in one job, each in a run folder RUN/NAME and on its number of ranks; a file says what is "
      "a student's own, --config what they share")(
      "resume", po::value(&options.resume)->default_value("auto")->value_name("auto|strict|never|PATH"),
      "go on from the newest checkpoint in RUN (auto: the newest that is whole; strict: refuse a "
      "damaged one), from none, or from this one: later steps are then set aside")(
      "check", po::bool_switch(&options.check), "do all of start-up and the first steps, then say what the run will take; writes nothing")(
      "max-time", po::value(&max_time)->value_name("11h"),
      "save and stop with exit code 85 before this much time has passed since the process started");
  const ConfigLine parsed = parse_config_line(argc, argv, run, [](const Field& field) { return describe(field); });
  if (parsed.variables.count("help")) {
    line.answer = kUsage + std::string("\n") + parsed.help;
    return line;
  }
  options.config = default_config();
  if (!config.empty()) {
    const std::vector<Setting> settings = read_settings(config);
    check_names(settings);
    apply_settings(options.config, settings);
  }
  check_names(parsed.settings);
  if (!students.empty()) line.students = read_students(students, options.config, parsed.settings);
  apply_settings(options.config, parsed.settings);
  for (const Setting& setting : parsed.settings) options.typed.insert(setting.key);
  if (parsed.variables.count("print-config")) {
    line.answer = print_config(options.config);
    return line;
  }
  if (data.empty()) fail_usage("--data", "a folder made by \"dinoxx pack\"", "nothing", "See \"dinoxx train --help\"");
  if (out.empty()) fail_usage("--out", "a run folder", "nothing", "See \"dinoxx train --help\"");
  if (options.resume.empty())
    fail_usage("--resume", "auto, strict, never or a checkpoint folder", "nothing", "See \"dinoxx train --help\"");
  options.data = data;
  options.out = out;
  try {
    if (!max_time.empty()) options.max_seconds = parse_wall_time(max_time);
  } catch (const std::invalid_argument& error) {
    fail_usage("--max-time", error.what(), fmt::format("\"{}\"", max_time), "See \"dinoxx train --help\"");
  }
  options.command_line = command_line(argc, argv);
  return line;
}

// What one student's ranks agree on, those of the others do not know: it has to end the job.
ExitCode run(const TrainOptions& options, const TrainComms& comms) {
  try {
    return train(options, comms);
  } catch (const JobError&) {
    throw;
  } catch (const AgreedError& error) {
    if (!comms.job) throw;
    const std::string text = fmt::format("student {}: {}", comms.job->student, error.what());
    if (error.exit_code() == ExitCode::kUsage) throw UsageError(text);
    throw Error(text);
  }
}

// The signal that a rank got since the process started; empty: none did. Collective.
std::string stop_before_the_start(Communicator& comm, const StopSignals& signals) {
  const char* mine = signals.received();
  for (const std::string& signal : gather_texts(comm, mine ? mine : ""))
    if (!signal.empty()) return signal;
  return {};
}

}  // namespace

int run_train(int argc, char** argv) {
  // From here to the end of the process, and before MPI takes its second to start: a signal must not end a run that has not begun, nor one
  // that is saved.
  static const StopSignals& signals = *new StopSignals;
  std::optional<doctor::StageWatch> watch(std::in_place, launched_tasks().rank, doctor::StageWatch::AtLimit::kSay);
  watch->begin("the start of MPI", 30);
  MpiRuntime mpi(&argc, &argv);
  watch.reset();
  return run_under_mpi(mpi, [&] {
    TrainComms comms{mpi.make_communicator(), mpi.make_communicator(), mpi.make_communicator()};
    comms.node = host_name();
    const nlohmann::json build = build_info();
    ranks_must_agree(*comms.control, json_text(build), "program");  // the next call of another one may be another
    Line line;
    on_all_ranks(*comms.control, [&] { line = parse(argc, argv); });
    if (!line.answer.empty()) {
      if (mpi.rank() == 0) fmt::print("{}", line.answer);
      return static_cast<int>(ExitCode::kDone);
    }
    if (const std::string signal = stop_before_the_start(*comms.control, signals); !signal.empty()) {
      if (mpi.rank() == 0) fmt::print("stopped before the first step ({}): there is nothing to save; the same command goes on\n", signal);
      return static_cast<int>(ExitCode::kStopped);
    }
    line.options.build = build;
    line.options.cores = cores_of_rank(mpi.local_size());
    std::shared_ptr<Communicator> evaluation = mpi.make_communicator();
    if (!line.students.empty()) {
      join_job(std::move(line.students), line.options, comms);
      evaluation = evaluation->split(comms.job->number, mpi.rank());
    }
    choose_train_device(line.options, comms, mpi.local_rank());
    line.options.stop_signal = [] { return signals.received(); };
    line.options.make_eval_hook = eval_hook(evaluation);
    line.options.room_on_gpu = room_on_gpu;
    const ExitCode code = run(line.options, comms);
    if (comms.control->rank() == 0 && !line.options.check && RunHistory(line.options.out).has_metrics()) {
      try {  // the run is saved: a page that fails is a message
        report::write_run_report(line.options.out);
      } catch (const std::exception& error) {
        fmt::print("no report: {}\n", error.what());
      }
    }
    return static_cast<int>(code);
  });
}

}  // namespace dinoxx
