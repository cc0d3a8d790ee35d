// A training run from start-up to its end. The loop reads top to bottom; what a stage consists of stands in a file of its own.
#include "train.hpp"

#include "check.hpp"
#include "collapse_watch.hpp"
#include "comm/agree.hpp"
#include "disk_room.hpp"
#include "eval/run/eval_config.hpp"
#include "evaluation.hpp"
#include "saver.hpp"
#include "skipped_steps.hpp"
#include "step_recorder.hpp"
#include "stopwatch.hpp"
#include "time_limit.hpp"
#include "train/start/machine.hpp"
#include "train/start/preflight.hpp"
#include "train/start/resume.hpp"
#include "training_config.hpp"

namespace dinoxx {
namespace {

EvalHook make_hook(const TrainOptions& options, const Training& training) {
  const bool wanted = options.make_eval_hook && (training.config.eval->every.value > 0 || options.check);
  return wanted ? options.make_eval_hook(training.inputs.dataset, training.config) : EvalHook();
}

// All that a rank holds of the student, against the ranks that hold the same.
void check_weights_agree(const Training& training) {
  const TrainState& state = training.state;
  Communicator& control = *training.comms.control;
  if (state.student_flat.values.defined()) check_ranks_agree(control, state.student_flat.values, "student weights", state.step);
  if (state.shards)
    check_ranks_agree(control, state.student_flat.master, "the shard of the student's weights", state.step, state.shards->ranks->rank());
}

}  // namespace

ExitCode train(const TrainOptions& options, const TrainComms& comms) {
  const TimeLimit limit(options.max_seconds);
  Training training(options, comms);
  TrainState& state = training.state;
  const Config& config = training.config;
  const uint64_t images = training.inputs.ids.size();
  RunHistory history(options.out);
  RunLog log(is_chief(comms), comms.job ? comms.job->student + ": " : "");
  print_start(training, options, log);
  say_machine(training, options, log);
  check_preconditions(training, options);
  load_teacher(training, options, log);
  if (options.check)
    start_check(training, log);
  else
    start_or_resume(training, options, history, log);
  const Calendar calendar(config, images, training.total_steps(), state.step, state.position);
  const int64_t total = calendar.total_steps();

  const EvalHook hook = make_hook(options, training);
  GradientPath path = gradient_path(state.student_flat.grad.device());
  path.bf16 = config.train->gradients == "bf16";
  GradientSync sync(state.groups.fellows, state.layout, state.student.parameters(), state.student_flat, path);
  Loader loader(training.inputs.dataset, training.inputs.ids, training.spec.plans(), training.loading());
  if (state.step < total) loader.start(state.position);
  if (options.check) return check_steps(training, loader, sync, log);
  if (state.step > total)
    log.say(fmt::format("the run is complete: {} steps are done, more than the {} of train.length = {}", state.step, total,
                        config.train->length.text()));
  else if (state.step == total)
    log.say(fmt::format("the run is complete: {0} of {0} steps are done", total));

  Stopwatch watch;  // of the steps alone: evaluation and saving pause it
  SkippedSteps skipped(*comms.control, config.train->max_skipped, log);
  StepRecorder recorder(training, loader, log, watch);
  CollapseWatch collapse(prototypes(training.spec.network.head.config), config.train->stop_on_collapse, log);
  Saver saver(training, calendar, history, log, watch);
  if (limit.is_set() && state.step < total)
    saver.assume(assumed_save_seconds(*comms.control, save_folder(history), checkpoint_bytes(state)));
  Evaluation evaluation(hook, config, comms, calendar, history, log, watch);
  double step_seconds = 0;  // of the last step, with the wait for its images
  const auto must_stop = [&] { return options.stop_signal() != nullptr || limit.must_save(saver.seconds()); };
  const auto stopped = [&] {
    const char* signal = options.stop_signal();
    log.say(fmt::format("stopped at step {} ({}), saved; --resume auto goes on", state.step, signal ? signal : "asked to, or out of time"));
    return ExitCode::kStopped;
  };

  // An evaluation that a stop ends is left to the next start. The students of a job end together, behind their next step.
  const auto evaluate = [&] { return evaluation.run_if_due(state, images, must_stop) || (comms.job && state.step < total); };

  if (!evaluate()) {  // of weights to begin with, or what a stop or a crash left out
    saver.save();
    return stopped();
  }
  watch.restart();
  while (state.step < total) {
    // 1. sample
    const Stopwatch took;
    const Batch& batch = loader.next();
    StepInput input = training.input_of(batch);
    if (const Batch* ahead = loader.ahead()) training.copy_ahead(*ahead);
    input.monitor = calendar.logs_after(state.step + 1);
    input.wants_stop = options.stop_signal() != nullptr ||
                       (log.chief() && limit.is_up(step_seconds, evaluation.seconds_behind(state.step + 1), saver.seconds()));

    // 2. to 6. forward, loss, backward, optimize, average the teacher: train_step numbers them in its own way
    const StepValues values = training.schedules.at(training.schedule_step(), state.position);
    const StepMetrics metrics = training.step(input, values, sync);
    step_seconds = took.seconds();

    // 7. record
    skipped.account(metrics, state.step, batch.sample_ids);
    if (metrics.finite && calendar.logs_after(state.step)) {
      recorder.record(metrics, values, batch);
      collapse.look(state.step, metrics.terms, calendar.warms_up(state.step));
      recorder.show();
    }

    // 8. check that the ranks agree
    if (calendar.compares_ranks_after(state.step)) check_weights_agree(training);

    // 9. save
    const bool last = calendar.ends_with(state.step);
    if (metrics.stop || calendar.saves_after(state.step)) saver.save();

    // 10. stop, when some rank was asked to
    if (metrics.stop && !last) return stopped();

    // 11. evaluate
    if (!evaluate()) {
      saver.save();
      return stopped();
    }
  }
  check_weights_agree(training);
  saver.save();  // where the run went on from another run's end, its folder has no checkpoint yet
  on_all_ranks(*comms.control, [&] {
    if (log.chief()) history.note_completion(state.step);
  });
  log.say(fmt::format("done: {} steps, run folder {}", state.step, options.out.string()));
  return ExitCode::kDone;
}

}  // namespace dinoxx
