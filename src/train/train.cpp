#include "train.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/files.hpp"
#include "checkpoint/checkpoint.hpp"
#include "comm/agree.hpp"
#include "config/config_fields.hpp"
#include "data_pipeline/loader/loader.hpp"
#include "kernels/cpu_level.hpp"
#include "loss/monitors.hpp"
#include "machine.hpp"
#include "other_weights.hpp"
#include "parallel/agreement.hpp"
#include "parallel/gradient_sync.hpp"
#include "progress.hpp"
#include "run_folder.hpp"
#include "saving.hpp"
#include "startup.hpp"
#include "step/train_step.hpp"
#include "tensorboard.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

StepInput step_input(const Batch& batch, const Config& config, const MethodSpec& spec) {
  StepInput input;
  const auto slots = static_cast<int64_t>(batch.positions.size());
  for (const CropGroup& group : batch.groups)
    input.crops.push_back(at::from_blob(group.pixels.data(), {group.views * slots, 3, group.size, group.size}, at::kFloat));
  input.positions = batch.positions;
  input.seed = static_cast<uint64_t>(config.train.seed);
  input.masked = draw_masks(spec, batch.groups.front().size, input.positions, input.seed);
  input.global_batch = config.train.batch_size;
  return input;
}

class Run {
 public:
  Run(const TrainOptions& options, const TrainComms& comms);
  ExitCode go();

 private:
  bool chief() const { return comms_.control->rank() == 0; }
  Communicator& everyone() const { return comms_.job ? *comms_.job->control : *comms_.control; }  // of all students of the job
  void on_everyone(const std::function<void()>& work) const;
  void print_start() const;
  void say(const std::vector<std::string>& lines);
  void open_folder();
  void start_or_resume();
  StepMetrics one_step();
  void record(const StepMetrics& metrics, const StepValues& values);
  std::string where_not_finite(const StepMetrics& metrics);
  void watch_collapse(const StepMetrics& metrics);
  bool logs_after(int64_t step) const;
  bool due(const Duration& every, int64_t step) const;
  bool period_ends(const Duration& every, int64_t step) const;
  void evaluate();
  void save();
  bool time_is_up() const;
  ExitCode check();

  const TrainOptions& options_;
  TrainComms comms_;
  std::shared_ptr<Communicator> batch_;  // for losses over all ranks
  Clock::time_point born_ = Clock::now();
  Inputs inputs_;
  const Config& config_;
  MethodSpec spec_;
  Schedules schedules_;
  TrainState state_;
  RunFacts facts_;
  std::unique_ptr<RunFolder> folder_;             // rank 0
  std::unique_ptr<TensorBoardFile> tensorboard_;  // rank 0
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<GradientSync> sync_;
  std::unique_ptr<SharedTeacher> teacher_;
  EvalHook eval_;
  ProgressLine progress_;
  Stopwatch watch_;
  int64_t logged_step_ = 0, saved_step_ = -1, evaluated_step_ = -1, skipped_ = 0;
  uint64_t bad_samples_ = 0;
  std::vector<uint64_t> sample_ids_;  // of this rank's last batch
  std::vector<int> crop_sizes_;       // of the last batch
  bool collapsed_ = false;
  double save_seconds_ = 0, step_seconds_ = 0, eval_seconds_ = 0;
  std::string resumed_from_;
};

Run::Run(const TrainOptions& options, const TrainComms& comms)
    : options_(options),
      comms_(comms),
      inputs_(open_inputs(options, *comms.control)),
      config_(inputs_.config),
      spec_(make_method(config_)),
      schedules_(config_, inputs_.ids.size()),
      state_(config_, spec_, compute_type(config_), options.device),
      progress_(comms.job ? comms.job->student + ": " : "") {
  at::set_num_threads(static_cast<int>(config_.train.threads.value()));
  ops::set_fused(config_.train.fused_kernels);
  facts_ = {print_config(config_),   inputs_.dataset->fingerprint(), inputs_.ids.size(),      options.build, cpu_model(),
            comms.gradients->name(), config_.train.threads.value(),  config_.train.batch_size};
  ranks_must_agree(*comms_.control, fmt::format("{:016x}", state_.layout.hash), "parameter layout");
  on_all_ranks(*comms_.control,
               [&] { check_batch(spec_, config_, config_.train.batch_size / comms_.control->size(), comms_.control->size()); });
  // orders of calls of their own: forward and backward of batch norms and of losses over all ranks must not cross the figures
  batch_ = comms_.statistics->split(0, comms_.statistics->rank());
  if (state_.student_buffers.empty()) return;
  const auto group = comms_.statistics->split(0, comms_.statistics->rank());
  state_.student.set_statistics_group(group);
  state_.teacher.set_statistics_group(group);
}

void Run::on_everyone(const std::function<void()>& work) const {
  try {
    on_all_ranks(everyone(), work);
  } catch (const AgreedError& error) {
    throw JobError(error.what(), error.exit_code());
  }
}

void Run::print_start() const {
  int64_t parameters = 0;
  for (const Segment& segment : state_.layout.segments) parameters += segment.numel;
  fmt::print("dinoxx train: {}{}, {} images of {}, {} parameters with head, {} ranks, {} steps of {} images\n",
             comms_.job ? "student " + comms_.job->student + ", " : "", config_.train.method, inputs_.ids.size(), options_.data.string(),
             parameters, comms_.control->size(), schedules_.total_steps(), config_.train.batch_size);
  for (const std::string& note : inputs_.notes) fmt::print("  auto: {}\n", note);
  std::fflush(stdout);
}

void Run::say(const std::vector<std::string>& lines) {
  for (const std::string& line : lines)
    if (chief()) progress_.say(line);
}

void Run::open_folder() {
  on_everyone([&] {
    choose_checkpoint(options_.resume, options_.out);  // a wrong --resume must not make a folder
    if (!chief()) return;
    folder_ = std::make_unique<RunFolder>(options_.out);
  });
}

void Run::start_or_resume() {
  std::string chosen;
  on_all_ranks(*comms_.control, [&] {
    const auto path = choose_checkpoint(options_.resume, options_.out);
    if (path) chosen = path->string();
  });
  ranks_must_agree(*comms_.control, chosen, "checkpoint to resume from");
  std::vector<std::string> lost;
  if (!chosen.empty()) {
    lost = load_state(*comms_.control, chosen, state_, facts_);
    resumed_from_ = chosen;
  } else {
    on_all_ranks(*comms_.control, [&] {
      if (!config_.model.init_from.empty()) say(init_from(config_.model.init_from, config_, state_));
      if (state_.gram && !config_.gram.teacher.empty()) say(load_gram_teacher(config_.gram.teacher, config_, state_));
    });
    broadcast_parameters(*comms_.gradients, state_.student_flat);
    broadcast_parameters(*comms_.gradients, state_.teacher_flat);
    if (state_.gram) broadcast_parameters(*comms_.gradients, state_.gram->flat);
  }
  logged_step_ = saved_step_ = state_.step;
  if (chosen.empty()) saved_step_ = -1;
  on_all_ranks(*comms_.control, [&] {
    if (!chief()) return;
    evaluated_step_ = folder_->open_metrics(state_.step);
    tensorboard_ = std::make_unique<TensorBoardFile>(options_.out);
    write_file_atomically(options_.out / "config.cfg", facts_.config_text);
    json start = {{"event", "start"},
                  {"step", state_.step},
                  {"command", options_.command_line},
                  {"build", facts_.build},
                  {"cpu", facts_.cpu},
                  {"simd", level_name(cpu_level())},
                  {"communicator", facts_.communicator},
                  {"world_size", comms_.control->size()},
                  {"threads", facts_.threads},
                  {"device", options_.device.str()},
                  {"data", options_.data.string()},
                  {"fingerprint", facts_.fingerprint},
                  {"images", facts_.images},
                  {"resumed_from", resumed_from_},
                  {"lost_claims", lost},
                  {"auto", inputs_.notes}};
    if (comms_.job) start["job"] = {{"student", comms_.job->student}, {"ranks", comms_.job->ranks}};
    folder_->log(start);
    if (!chosen.empty()) progress_.say(fmt::format("resumed from {} at step {}", chosen, state_.step));
    for (const std::string& claim : lost) progress_.say("  resume differs: " + claim);
  });
  ranks_must_agree(everyone(), std::to_string(state_.step), "step to go on from");
  at::Tensor evaluated = at::full({1}, evaluated_step_, at::kLong);
  comms_.control->broadcast(evaluated, 0)->wait();
  evaluated_step_ = evaluated.item<int64_t>();
}

StepMetrics Run::one_step() {
  // 1. sample
  const Batch& batch = loader_->next();
  StepInput input = step_input(batch, config_, spec_);
  sample_ids_ = batch.sample_ids;
  crop_sizes_.clear();
  for (const CropGroup& group : batch.groups) crop_sizes_.push_back(group.size);
  input.monitor = logs_after(state_.step + 1);
  input.wants_stop = options_.stop_signal() != nullptr || (chief() && time_is_up());
  // 2. to 6. forward, loss, backward, optimize, average
  const StepValues values = schedules_.at(state_.step, state_.position);
  const auto begin = Clock::now();
  const StepMetrics metrics = train_step(state_, spec_, input, values, *sync_, {*comms_.statistics, *batch_, teacher_.get()});
  step_seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
  // 7. report
  record(metrics, values);
  return metrics;
}

// Every rank that met a number that is none names the term and its images; where only the gradient is none, every rank its images.
// Collective: all ranks have agreed that the step does not count.
std::string Run::where_not_finite(const StepMetrics& metrics) {
  std::string mine;
  const std::string images = fmt::format("rank {} (image ids {})", comms_.control->rank(), fmt::join(sample_ids_, " "));
  if (!metrics.bad_term.empty()) mine = fmt::format("term {} on {}", metrics.bad_term, images);
  const bool gradient = metrics.bad_ranks.empty();  // the mean over all ranks: whose images spoilt it cannot be told any more
  if (gradient) mine = images;
  std::string all;
  for (const std::string& text : gather_texts(*comms_.control, mine))
    if (!text.empty()) all += (all.empty() ? "" : "; ") + text;
  return gradient ? fmt::format("the gradient of {}, though every term is a number, of {}", metrics.bad_parameter, all) : all;
}

// Says it when the signs first tell of a collapse, and again after they had cleared.
void Run::watch_collapse(const StepMetrics& metrics) {
  if (state_.step <= config_.optim.warmup->steps(inputs_.ids.size(), config_.train.batch_size)) return;
  CollapseSigns signs;
  for (const auto& [name, value] : metrics.terms) {
    if (name == "teacher_entropy") signs.teacher_entropy = value;
    if (name == "kl") signs.kl = value;
    if (name == "prototype_perplexity") signs.perplexity = value;
    if (name == "feature_deviation") signs.deviation = value;
    if (name == "effective_rank") signs.effective_rank = value;
  }
  signs.prototypes = out_dim(spec_.network.head.config);
  const std::optional<std::string> alarm = collapse_alarm(signs);
  if (alarm && !collapsed_) {
    folder_->log({{"event", "collapse"}, {"step", state_.step}, {"signs", *alarm}});
    progress_.say(fmt::format("step {}: {}", state_.step, *alarm));
  }
  collapsed_ = alarm.has_value();
}

void Run::record(const StepMetrics& metrics, const StepValues& values) {
  if (!metrics.finite) {
    ++skipped_;
    const std::string who = where_not_finite(metrics);
    if (chief()) {
      folder_->log({{"event", "skipped"}, {"step", state_.step}, {"ranks", metrics.bad_ranks}, {"where", who}});
      progress_.say(fmt::format("step {} skipped: not a number in {}", state_.step, who));
    }
    if (skipped_ >= config_.train.max_skipped)
      throw AgreedError(fmt::format("training at step {}: expected a finite loss, found {} steps in a row with no number in {}. Lower "
                                    "optim.lr, lengthen optim.warmup, "
                                    "or resume from an earlier checkpoint.",
                                    state_.step, skipped_, who),
                        ExitCode::kFailed);
    return;
  }
  skipped_ = 0;
  if (!logs_after(state_.step)) return;
  const double seconds = watch_.seconds();
  const auto steps = static_cast<double>(state_.step - logged_step_);
  const LoaderStats stats = loader_->stats();
  if (stats.bad_samples > bad_samples_)
    progress_.say(fmt::format("rank {}: {} images could not be read so far and were replaced", comms_.control->rank(), stats.bad_samples));
  bad_samples_ = stats.bad_samples;
  watch_.restart();
  logged_step_ = state_.step;
  if (!chief()) return;
  const double images_per_s = steps * static_cast<double>(config_.train.batch_size) / seconds;
  const double wait = stats.wait_seconds / seconds, epoch = static_cast<double>(state_.position) / static_cast<double>(inputs_.ids.size());
  json line = {{"step", state_.step},
               {"epoch", epoch},
               {"loss", metrics.loss},
               {"lr", values.lr},
               {"weight_decay", values.weight_decay},
               {"momentum", values.momentum},
               {"teacher_temp", values.teacher_temp},
               {"images_per_s", images_per_s},
               {"data_wait", wait},
               {"grad_norm", metrics.grad_norm},
               {"overlapped_share", metrics.overlapped_share},
               {"last_layer_frozen", values.freeze_last_layer}};
  if (values.gram_weight > 0) line["gram_weight"] = values.gram_weight;
  if (!spec_.other_views.empty()) line["crop_sizes"] = crop_sizes_;
  for (const auto& [name, value] : metrics.terms) line[name] = value;
  folder_->log(line);
  std::vector<std::pair<std::string, double>> scalars;
  for (const auto& [name, value] : line.items())
    if (value.is_number_float() && std::isfinite(value.get<double>())) scalars.emplace_back("train/" + name, value.get<double>());
  tensorboard_->log(state_.step, scalars);
  watch_collapse(metrics);
  const double left = static_cast<double>(schedules_.total_steps() - state_.step) * seconds / steps;
  progress_.show(
      fmt::format("step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {:.1f} images/s  waiting for data {:.0f} %  ETA {}", state_.step,
                  schedules_.total_steps(), epoch, metrics.loss, values.lr, images_per_s, 100 * wait, human_time(left)),
      state_.step == schedules_.total_steps());
}

bool Run::logs_after(int64_t step) const {
  return step % config_.train.log_every == 0 || step == schedules_.total_steps();
}

// Whether a schedule such as "every 2ep" falls due with `step`, or the run ends with it. A function of the step alone, so that a resumed
// run keeps the rhythm.
bool Run::due(const Duration& every, int64_t step) const {
  return step > 0 && every.value > 0 && (step >= schedules_.total_steps() || period_ends(every, step));
}

bool Run::period_ends(const Duration& every, int64_t step) const {
  return every.ends_with(step, inputs_.ids.size(), config_.train.batch_size);
}

void Run::evaluate() {
  if (!eval_ || !due(config_.eval.every, state_.step) || evaluated_step_ == state_.step) return;
  watch_.pause();
  const auto begin = Clock::now();
  json result;
  try {
    result = eval_(state_.teacher, state_.step);
  } catch (const std::exception& error) {
    result = {{"error", error.what()}};
  }
  eval_seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
  evaluated_step_ = state_.step;
  if (chief()) {
    folder_->log({{"step", state_.step},
                  {"epoch", static_cast<double>(state_.position) / static_cast<double>(inputs_.ids.size())},
                  {"eval", result}});
    std::vector<std::pair<std::string, double>> scalars;
    if (result.contains("accuracy")) scalars.emplace_back("eval/knn_accuracy", result["accuracy"].get<double>());
    const json steps = result.value("steps", json::object());
    for (const auto& [step, figures] : steps.items()) {
      std::string text;
      for (const auto& [name, value] : figures.items()) {
        if (value.is_number()) scalars.emplace_back(fmt::format("eval/{}_{}", step, name), value.get<double>());
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name,
                            value.is_number() ? fmt::format("{:.4f}", value.get<double>()) : value.dump());
      }
      progress_.say(fmt::format("step {}: {}: {}", state_.step, step, text));
    }
    tensorboard_->log(state_.step, scalars);
    if (result.contains("error"))
      progress_.say(fmt::format("evaluation at step {} failed (training goes on): {}", state_.step, result["error"].get<std::string>()));
    else if (result.contains("accuracy"))
      progress_.say(fmt::format("step {}: k-NN (k = {}) accuracy {:.2f} %", state_.step, result.value("k", json()).dump(),
                                100 * result["accuracy"].get<double>()));
  }
  watch_.resume();
}

void Run::save() {
  if (saved_step_ == state_.step) return;
  watch_.pause();
  const auto begin = Clock::now();
  on_all_ranks(*comms_.control, [&] {
    if (chief()) folder_->sync_metrics();
  });
  save_state(*comms_.control, options_.out, state_, facts_);
  if (comms_.job) comms_.job->control->barrier();  // an old one goes when all students have the new one: a resume needs a common step
  on_all_ranks(*comms_.control, [&] {
    if (chief())
      prune_checkpoints(options_.out / "checkpoints", config_.checkpoint.keep,
                        [&](int64_t step) { return period_ends(config_.checkpoint.keep_every, step); });
  });
  saved_step_ = state_.step;
  save_seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
  watch_.resume();
}

// Rank 0's clock decides; the vote travels with the step's figures. Leaves room for this step, what may fall due behind it, the next step
// and a checkpoint.
bool Run::time_is_up() const {
  if (options_.max_seconds <= 0) return false;
  const double evaluation = due(config_.eval.every, state_.step + 1) ? eval_seconds_ : 0;
  return std::chrono::duration<double>(Clock::now() - born_).count() + 2 * step_seconds_ + evaluation + 2.5 * save_seconds_ >=
         options_.max_seconds;
}

ExitCode Run::check() {
  const std::vector<ViewPlan> plans = spec_.plans();
  double seconds = 0, shares = 0;  // of a step, the mean over all resolutions
  for (size_t plan = 0; plan < plans.size(); ++plan) {
    uint64_t position = 0;
    while (drawn_plan(plans, static_cast<uint64_t>(config_.train.seed), position) != plan)
      position += static_cast<uint64_t>(config_.train.batch_size);
    double second = 0;
    for (int i = 0; i < 2; ++i) {  // the first step also allocates: the second tells the time
      loader_->start(position);
      const StepInput input = step_input(loader_->next(), config_, spec_);
      const auto begin = Clock::now();
      const StepMetrics metrics = train_step(state_, spec_, input, schedules_.at(state_.step, state_.position), *sync_,
                                             {*comms_.statistics, *batch_, teacher_.get()});
      second = std::chrono::duration<double>(Clock::now() - begin).count();
      if (!metrics.finite) fail("--check", "a finite loss in the first steps", "no number", "Lower optim.lr or look at the images");
    }
    seconds += plans[plan].share * second;
    shares += plans[plan].share;
  }
  seconds /= shares;
  at::Tensor worst = at::zeros({2}, at::kDouble);
  worst[0] = static_cast<double>(peak_memory());
  worst[1] = seconds;
  comms_.control->all_reduce(worst, ReduceOp::kMax)->wait();
  if (chief()) {
    const double step = worst[1].item<double>(), total = step * static_cast<double>(schedules_.total_steps());
    const double state_bytes = static_cast<double>(state_.layout.numel) * 4 * 4;
    progress_.say(fmt::format(
        "check passed: {} a step ({:.1f} images/s), the run of {} steps takes about {}; {} of memory a rank, {} a checkpoint. Nothing was "
        "written.",
        step < 10 ? fmt::format("{:.3f}s", step) : human_time(step), static_cast<double>(config_.train.batch_size) / step,
        schedules_.total_steps(), human_time(total), human_bytes(worst[0].item<double>()),
        human_bytes(state_bytes + static_cast<double>(state_.layout.numel) * 8)));
  }
  return ExitCode::kDone;
}

// The folder's writability is part of the check; what did not exist before does not exist after.
void probe_folder(const fs::path& out) {
  const fs::path absolute = fs::absolute(out);
  fs::path made = absolute;
  const bool existed = fs::exists(absolute);
  while (made.has_parent_path() && made != made.parent_path() && !fs::exists(made.parent_path())) made = made.parent_path();
  make_writable_directory(absolute);
  if (!existed) fs::remove_all(made);
}

ExitCode Run::go() {
  if (chief()) print_start();
  if (spec_.teacher == TeacherPolicy::kFrozen)
    on_everyone([&] { say(load_frozen_teacher(config_.teacher.distill, spec_, compute_type(config_), options_.device, state_)); });
  if (comms_.job) teacher_ = std::make_unique<SharedTeacher>(comms_.job->teacher, comms_.job->ranks, config_.train.batch_size);
  if (options_.check) {
    on_everyone([&] {
      if (everyone().rank() == 0) probe_folder(comms_.job ? options_.out.parent_path() : options_.out);
    });
    broadcast_parameters(*comms_.gradients, state_.student_flat);
    broadcast_parameters(*comms_.gradients, state_.teacher_flat);
  } else {
    open_folder();
    start_or_resume();
  }
  const int64_t total = schedules_.total_steps(), batch = config_.train.batch_size;
  if (options_.make_eval_hook && (config_.eval.every.value > 0 || options_.check))
    eval_ = options_.make_eval_hook(inputs_.dataset, config_);
  sync_ = std::make_unique<GradientSync>(comms_.gradients, state_.layout, state_.student.parameters(), state_.student_flat);
  LoaderConfig loading;
  loading.seed = static_cast<uint64_t>(config_.train.seed);
  loading.global_batch = static_cast<int>(batch);
  loading.rank = comms_.control->rank();
  loading.world_size = comms_.control->size();
  loading.workers = static_cast<int>(config_.data.workers.value());
  loading.ring = static_cast<int>(config_.data.ring);
  loading.max_bad_fraction = config_.data.max_bad_fraction;
  loading.cache_decoded = config_.data.cache_decoded;
  loader_ = std::make_unique<Loader>(inputs_.dataset, inputs_.ids, spec_.plans(), loading);
  if (state_.step < total) loader_->start(state_.position);
  if (options_.check) return check();
  if (state_.step >= total && chief()) progress_.say(fmt::format("the run is complete: {} of {} steps are done", state_.step, total));

  evaluate();  // what a stop or a crash left out
  watch_.restart();
  while (state_.step < total) {
    const StepMetrics metrics = one_step();
    const bool last = state_.step == total;
    if (config_.train.check_every > 0 && state_.step % config_.train.check_every == 0)
      check_ranks_agree(*comms_.control, state_.student_flat.master, "student weights", state_.step);
    if (last || metrics.stop || due(config_.checkpoint.every, state_.step) || period_ends(config_.checkpoint.keep_every, state_.step))
      save();
    if (metrics.stop && !last) {
      const char* signal = options_.stop_signal();
      if (chief())
        progress_.say(fmt::format("stopped at step {} ({}), saved; --resume auto goes on", state_.step,
                                  signal ? signal : "asked to, or out of time"));
      return ExitCode::kStopped;
    }
    evaluate();
  }
  check_ranks_agree(*comms_.control, state_.student_flat.master, "student weights", state_.step);
  if (chief()) progress_.say(fmt::format("done: {} steps, run folder {}", state_.step, options_.out.string()));
  return ExitCode::kDone;
}

}  // namespace

ExitCode train(const TrainOptions& options, const TrainComms& comms) {
  return Run(options, comms).go();
}

}  // namespace dinoxx
