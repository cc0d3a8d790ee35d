#include "resume.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/files.hpp"
#include "comm/agree.hpp"
#include "config/model_keys.hpp"
#include "config/train_keys.hpp"
#include "history/checkpoint_folders.hpp"
#include "kernels/cpu_level.hpp"
#include "loss/gram_config.hpp"
#include "optim/optim_config.hpp"
#include "other_weights.hpp"
#include "parallel/gradient_sync.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Random weights, or others where the configuration names some; rank 0's everywhere.
void begin_anew(Training& training, RunLog& log) {
  const Config& config = training.config;
  TrainState& state = training.state;
  on_all_ranks(*training.comms.control, [&] {
    if (!model_init_from(config).empty()) log.say(init_from(model_init_from(config), config, state));
    if (const auto& plan = training.spec.gram; plan && plan->is_file()) log.say(load_gram_teacher(config.gram->teacher, config, state));
  });
  Communicator& fellows = *state.groups.fellows;
  broadcast_parameters(fellows, state.student_flat);
  broadcast_parameters(fellows, state.teacher_flat);
  if (state.gram) broadcast_parameters(fellows, state.gram->flat);
}

// What the schedules gave the checkpoint's step and give it now: a longer run or another batch makes them jump.
std::vector<std::string> jumps(const Training& training) {
  const SavedRun& from = *training.origin.from;
  const Config& before = from.settings.config;
  const uint64_t images = from.manifest.value("dataset", json()).value("images", training.inputs.ids.size());
  std::vector<std::string> lines;
  const auto compare = [&](const char* what, double was, double is) {
    if (std::abs(is - was) > 0.02 * std::max(std::abs(is), std::abs(was)))
      lines.push_back(fmt::format("{} goes from {:.4g} to {:.4g}", what, was, is));
  };
  const nlohmann::json none = json::object();
  if (const auto of = from.manifest.value("progress", none).value("of_samples", uint64_t{0});
      images != training.inputs.ids.size() && of != 0 && of != training.facts.length &&
      train_length(before) == train_length(training.config))
    lines.push_back(fmt::format("train.length = {} was {} images of the former data set ({} images) and is {} of this one ({} images)",
                                train_length(training.config).text(), of, images, training.facts.length, training.inputs.ids.size()));
  const StepValues was = Schedules(before, images).at(static_cast<int64_t>(from.position) / train_batch_size(before), from.position),
                   is = training.schedules.at(training.schedule_step(), from.position);
  compare("the learning rate", was.lr, is.lr);
  compare("weight decay", was.weight_decay, is.weight_decay);
  if (training.spec.teacher == TeacherPolicy::kEma && (was.momentum == 1) != (is.momentum == 1))
    lines.push_back(fmt::format("the teacher's momentum goes from {:.6g} to {:.6g}", was.momentum, is.momentum));
  if (training.spec.centre) compare("the teacher's temperature", was.teacher_temp, is.teacher_temp);
  if (!lines.empty() && train_length(before) != train_length(training.config))
    lines.push_back(
        "another train.length stretches every schedule; train.extend goes on behind the former length with the values of its end, "
        "train.extend_warmup with a second rise of the learning rate");
  return lines;
}

json start_record(const Training& training, const TrainOptions& options, const std::string& resumed_from,
                  const std::vector<std::string>& lost) {
  const RunFacts& facts = training.facts;
  json start = {{"event", "start"},
                {"step", training.state.step},
                {"command", options.command_line},
                {"build", facts.build},
                {"cpu", facts.cpu},
                {"simd", level_name(cpu_level())},
                {"communicator", facts.communicator},
                {"world_size", training.comms.control->size()},
                {"threads", facts.threads},
                {"device", options.device.str()},
                {"data", options.data.string()},
                {"fingerprint", facts.fingerprint},
                {"images", facts.images},
                {"batch_size", facts.batch_size},
                {"samples", training.state.position},
                {"total_steps", training.total_steps()},
                {"branch", facts.branch},
                {"resumed_from", resumed_from},
                {"lost_claims", lost},
                {"auto", training.inputs.notes},
                {"guides", training.inputs.guides.notes()}};
  if (const auto& job = training.comms.job) start["job"] = {{"student", job->student}, {"ranks", job->ranks}};
  return start;
}

}  // namespace

std::vector<std::string> bring_to_beginning(Training& training, RunLog& log) {
  const Origin& origin = training.origin;
  if (!origin.from) {
    begin_anew(training, log);
    return {};
  }
  std::vector<std::string> lost = load_state(*training.comms.control, origin.from->folder, training.state, training.facts);
  for (const std::string& jump : jumps(training)) lost.push_back(jump);
  return lost;
}

void start_or_resume(Training& training, const TrainOptions& options, RunHistory& history, RunLog& log) {
  const TrainComms& comms = training.comms;
  const Origin& origin = training.origin;
  const fs::path from = origin.from ? origin.from->folder : fs::path();
  on_everyone(comms, [&] {
    log.lock(history);
    if (!log.chief()) return;
    std::vector<fs::path> points = history.resume_points(
        history.what_resume_means(options.resume, options.command_line));  // without the lock another process may have gone on
    std::erase_if(points, [&](const fs::path& point) { return std::ranges::count(origin.damaged, point) > 0; });
    if ((points.empty() ? fs::path() : points.front()) != from)
      fail(history.folder().string(), fmt::format("\"{}\" as the place to go on from, as when this start began", from.string()),
           points.empty() ? "nothing" : points.front().string(), "Another process has used the folder: start again");
  });
  const std::vector<std::string> lost = bring_to_beginning(training, log);
  const int64_t step = training.state.step;
  at::Tensor told = at::full({2}, -1, at::kLong);  // last evaluation, branch
  on_all_ranks(*comms.control, [&] {
    if (!log.chief()) return;
    for (const std::string& damage : origin.told) log.say("DAMAGED: " + damage);
    log.say(history.set_damaged_aside(origin.damaged));
    const std::vector<std::string> moved = history.make_way(from, step);
    log.say(moved);
    const int64_t missing = history.journal().last_saved();
    if (origin.searched && origin.damaged.empty() && missing > step)
      log.say(fmt::format("note: {} tells of a checkpoint of step {}, which is not there; what it tells behind step {} is taken out",
                          history.metrics_file().string(), missing, step));
    for (const int64_t unfinished : history.unfinished_saves())
      log.say(fmt::format("note: the save of step {} was broken off; nothing of it is taken", unfinished));
    if (origin.from && !history.has_metrics())
      log.say(
          fmt::format("note: {} is not there: what the run did up to step {} is not in its record", history.metrics_file().string(), step));
    told[0] = history.set_back(step);
    told[1] = training.facts.branch = history.branch();
    history.note_completion(std::nullopt);
    log.open(history, step);
    write_file_atomically(history.config_file(), training.facts.config_text);
    json start = start_record(training, options, from.string(), lost);
    if (!moved.empty()) start["set_aside"] = moved;
    if (!origin.told.empty()) start["damaged"] = origin.told;
    log.write(start);
    if (const StepValues last = training.schedules.at(training.schedules.total_steps() - 1, training.state.position);
        train_extend(training.config).value > 0 && training.spec.teacher == TeacherPolicy::kEma && last.momentum == 1)
      log.say("  note: in train.extend the teacher stands still, as teacher.momentum_end is 1; train.extend_warmup lets it move");
    if (!origin.from) return;
    log.say(fmt::format("resumed from {} at step {}", from.string(), step));
    if (origin.searched && options.resume != "auto" && options.resume != "strict")
      log.say(
          fmt::format("  note: this command went on from {} before, and goes on from where it has come to. To go back there once more, "
                      "change the command or move the newer checkpoints away",
                      options.resume));
    if (!origin.from->note.empty()) log.say("  note: " + origin.from->note);
    for (const std::string& claim : lost) log.say("  resume differs: " + claim);
    if (train_batch_size(origin.from->settings.config) != train_batch_size(training.config))
      log.say(fmt::format("  {} images are done in {} steps; the {} images of the run end at step {}", training.state.position, step,
                          training.facts.length, training.total_steps()));
  });
  ranks_must_agree(everyone(comms), std::to_string(step), "step to go on from");
  comms.control->broadcast(told, 0)->wait();
  training.facts.branch = told[1].item<int64_t>();
  const int64_t evaluated = step == 0 ? -1 : told[0].item<int64_t>();  // of step 0 with perhaps other weights
  history.go_on(step, history.owns(from) && checkpoint_step(from) == step, evaluated);
}

}  // namespace dinoxx
