#include "preflight.hpp"

#include <ATen/ATen.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/files.hpp"
#include "base/machine.hpp"
#include "checkpoint/checkpoint_config.hpp"
#include "comm/device_choice.hpp"
#include "config/model_keys.hpp"
#include "config/train_keys.hpp"
#include "data_pipeline/loader/balanced_sampler.hpp"
#include "data_pipeline/loader/data_config.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/gram_config.hpp"
#include "method/teacher_config.hpp"
#include "optim/optim_config.hpp"
#include "parallel/sync_groups.hpp"
#include "shared_files.hpp"
#include "step/late_schedules.hpp"
#include "train/disk_room.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

// Makes a folder for a check; what did not exist before does not exist behind it.
class MadeForCheck {
 public:
  explicit MadeForCheck(const fs::path& folder) : folder_(fs::absolute(folder)), top_(folder_), existed_(fs::exists(folder_)) {
    while (top_.has_parent_path() && top_ != top_.parent_path() && !fs::exists(top_.parent_path())) top_ = top_.parent_path();
  }
  ~MadeForCheck() {
    std::error_code ignored;
    if (made_ && !existed_) fs::remove_all(top_, ignored);
  }
  MadeForCheck(const MadeForCheck&) = delete;
  MadeForCheck& operator=(const MadeForCheck&) = delete;
  void make() {
    made_ = true;
    make_writable_directory(folder_);
  }

 private:
  fs::path folder_, top_;
  bool existed_, made_ = false;
};

double bytes_of_batches(const Training& training) {
  uint64_t largest = 0;
  const auto local = static_cast<int>(train_batch_size(training.config) / training.comms.control->size());
  for (const ViewPlan& plan : training.spec.plans()) largest = std::max(largest, batch_bytes(plan, local, training.loading().bytes));
  return static_cast<double>(largest) * static_cast<double>(training.config.data->ring);
}

// Masters, gradients, optimizer and teachers, beside what the networks compute in.
double bytes_of_state(const Training& training) {
  const TrainState& state = training.state;
  size_t bytes = 0;
  for (const auto& [name, tensor] : state.optimizer->named_state()) bytes += tensor.nbytes();
  std::vector<const FlatState*> flats{&state.student_flat, &state.teacher_flat};
  if (state.gram) flats.push_back(&state.gram->flat);
  if (state.frozen_flat) flats.push_back(state.frozen_flat.get());
  for (const FlatState* flat : flats) bytes += flat->bytes();
  return static_cast<double>(bytes);
}

void refuse_large_batches(const Training& training) {
  const double batches = bytes_of_batches(training), available = static_cast<double>(available_memory());
  if (available > 0 && batches > available)
    fail_usage(
        host_name(),
        fmt::format("memory for the {} batches that wait on each rank, {} (train.batch_size = {} images on {} ranks)",
                    training.config.data->ring, human_bytes(batches), train_batch_size(training.config), training.comms.control->size()),
        fmt::format("{} free", human_bytes(available)), "Lower train.batch_size, views.local_count or data.ring, or use more hosts");
}

// Another data set makes another number of images of the same epochs: a run that had not ended is not called complete for that.
void refuse_lost_images(const Training& training) {
  if (!training.origin.from) return;
  const SavedRun& from = *training.origin.from;
  const nlohmann::json none = nlohmann::json::object();
  const auto was = from.manifest.value("dataset", none).value("images", uint64_t{0}),
             of = from.manifest.value("progress", none).value("of_samples", uint64_t{0}), now = training.facts.length;
  if (was == training.inputs.ids.size() || from.position >= of || from.position < now) return;
  fail_usage("train.length", fmt::format("a length above the {} images that are done", from.position),
             fmt::format("{}, which was {} images of the former data set and is {} of this one, which has {} images for {}",
                         train_length(training.config).text(), of, now, training.inputs.ids.size(), was),
             "State a longer train.length, train with the former data set, or begin a new run with another --out");
}

// The largest file of a checkpoint against this process's limit, and files against what the file system has room for.
void refuse_small_limits(const Training& training, const TrainOptions& options) {
  const int ranks = training.comms.control->size();
  rlimit limit{};
  const int64_t largest = checkpoint_bytes(training.state).largest_file(ranks);
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && static_cast<int64_t>(limit.rlim_cur) < largest)
    fail_usage("checkpoints", fmt::format("files of up to {}", human_bytes(static_cast<double>(largest))),
               fmt::format("a limit of {} on host {}", human_bytes(static_cast<double>(limit.rlim_cur)), host_name()),
               "Raise it (ulimit -f unlimited)");
  if (!is_chief(training.comms)) return;
  const int64_t files = disk_room(training, RunHistory(options.out)).files,
                wanted = ranks + 8;  // of a checkpoint, with its folder and journal
  if (files < wanted)
    fail_usage(options.out.string(), fmt::format("room for {} more files", wanted),
               fmt::format("{}: its file system has no free inodes for more", files),
               "Remove files there, or choose an --out on another one");
}

void refuse_full_disk(const Training& training, const TrainOptions& options) {
  const TrainComms& comms = training.comms;
  DiskRoom room;
  // the students of a job share a file system: all that they want must fit
  at::Tensor wanted = at::zeros({1}, at::kDouble);
  on_everyone(comms, [&] {
    if (!is_chief(comms)) return;
    room = disk_room(training, RunHistory(options.out));
    wanted.fill_(static_cast<double>(room.wanted));
  });
  everyone(comms).all_reduce(wanted, ReduceOp::kSum)->wait();
  on_everyone(comms, [&] {
    const double bytes = wanted.item<double>();
    if (!is_chief(comms) || bytes <= static_cast<double>(room.free)) return;
    fail_usage(
        options.out.string(),
        fmt::format("room for {} more of checkpoints: {} of {} each, checkpoint.keep = {} and the one being written", human_bytes(bytes),
                    room.at_once, human_bytes(static_cast<double>(room.checkpoint)), training.config.checkpoint->keep),
        fmt::format("{} free on its file system", human_bytes(static_cast<double>(room.free))),
        "Free space, lower checkpoint.keep, or choose an --out on another file system");
  });
}

// Files that every rank reads for itself. Those that a resume does not read may be gone.
void check_weights(const Training& training) {
  const Config& config = training.config;
  Communicator& all = everyone(training.comms);
  if (training.spec.teacher == TeacherPolicy::kFrozen) check_same_files(all, "teacher.distill", config.teacher->distill);
  if (training.origin.from) return;
  Communicator& mine = *training.comms.control;
  if (!model_init_from(config).empty()) check_same_files(mine, "model.init_from", model_init_from(config));
  if (const auto& plan = training.spec.gram; plan && plan->is_file()) check_same_files(mine, "gram.teacher", config.gram->teacher);
}

// The rarest class and the most frequent one.
std::string balance_line(const Training& training) {
  const Inputs& inputs = training.inputs;
  const BalancedSampler sampler(labels_of(*inputs.dataset, inputs.ids), training.config.data->balance, 0);
  const auto by_images = [](const auto& a, const auto& b) { return a.images < b.images; };
  const auto [least, most] = std::ranges::minmax_element(sampler.classes(), by_images);
  const auto text = [&](const BalancedSampler::Class& c) {
    return fmt::format("{} with {} images {} times", inputs.dataset->class_names()[static_cast<size_t>(c.label)], c.images, c.share);
  };
  return fmt::format("data.balance: of {} classes an epoch has {} and {}", sampler.classes().size(), text(*least), text(*most));
}

std::string disk_line(const DiskRoom& room) {
  const auto checkpoint = static_cast<double>(room.checkpoint);
  const double kept = static_cast<double>(room.kept) * checkpoint;
  std::string text = fmt::format("disk: {} a checkpoint, at most {} at once", human_bytes(checkpoint), room.at_once);
  if (room.kept > 0) text += fmt::format(", and {} that stay (checkpoint.keep_every), {}", room.kept, human_bytes(kept));
  text += fmt::format("; {} free", human_bytes(static_cast<double>(room.free)));
  if (kept + static_cast<double>(room.wanted) > static_cast<double>(room.free)) text += ": not enough for those that stay";
  return text;
}

}  // namespace

void print_start(const Training& training, const TrainOptions& options, RunLog& log) {
  const TrainComms& comms = training.comms;
  if (!log.chief()) return;
  const Config& config = training.config;
  int64_t parameters = 0;
  for (const Segment& segment : training.state.layout.segments) parameters += segment.numel;
  const int64_t batch = train_batch_size(config), ranks = comms.control->size(), total = training.schedules.total_steps();
  const auto images = static_cast<double>(training.inputs.ids.size());
  log.say(fmt::format("dinoxx train: {}{}, {} images of {}, {} parameters with head, {} ranks, {} steps of {} images",
                      comms.job ? "student " + comms.job->student + ", " : "", train_method(config), training.inputs.ids.size(),
                      options.data.string(), parameters, ranks, total, batch));
  for (const std::string& note : training.inputs.notes) log.say("  auto: " + note);
  for (const std::string& note : training.inputs.guides.notes()) log.say("  " + note);
  const bool rounds = options.device.is_cuda() && at::globalContext().allowTF32CuBLAS();
  log.say(fmt::format("  device: {}{}", device_line(options.device), rounds ? "; float32 products by TF32 (train.tf32)" : ""));
  const Duration& extend = train_extend(config);
  const std::string length = train_length(config).text() + (extend.value > 0 ? " + " + extend.text() : "");
  log.say(fmt::format("  batch: {} images on each rank; {} are {:.4g} epochs of {:.4g} steps", batch / ranks, length,
                      static_cast<double>(total * batch) / images, images / static_cast<double>(batch)));
  if (const int64_t parts = train_accumulate(config); parts > 1)
    log.say(fmt::format(
        "  each rank computes its images in {} parts of {} (train.accumulate); what a loss looks at together are the {} of one part", parts,
        batch / (ranks * parts), batch / parts));
  if (config.data->balance > 0) log.say("  " + balance_line(training));
  if (training.state.shards) log.say(fmt::format("  parallel.sync: {}", describe(training.state.groups)));
  const OptimConfig& optim = *config.optim;
  log.say(fmt::format("  learning rate: {:.4g} at its peak (optim.lr = {:.4g}, {} of {} images), after {} steps of warm-up",
                      scaled_lr(lr_rule(optim.lr_rule), *optim.lr, batch), *optim.lr, optim.lr_rule, batch,
                      optim.warmup->steps(training.inputs.ids.size(), batch)));
  if (!training.room_warning.empty()) log.say("  warning: " + training.room_warning);
  for (const std::string& line : late_schedules(config, training.inputs.ids.size())) log.say("  warning: " + line);
  log.say(fmt::format("  memory of each rank: {} for weights and optimizer, {} for batches, and activations; {} free on this machine",
                      human_bytes(bytes_of_state(training)), human_bytes(bytes_of_batches(training)),
                      human_bytes(static_cast<double>(available_memory()))));
  try {
    log.say("  " + disk_line(disk_room(training, RunHistory(options.out))));
  } catch (const std::exception&) {  // what is wrong with the folder the check of it says
  }
}

void check_preconditions(const Training& training, const TrainOptions& options) {
  const TrainComms& comms = training.comms;
  on_everyone(comms, [&] {
    refuse_lost_images(training);
    refuse_large_batches(training);
  });
  const fs::path folder = comms.job ? options.out.parent_path() : options.out;
  std::optional<MadeForCheck> made;
  on_everyone(comms, [&] {
    if (everyone(comms).rank() != 0) return;  // who looks for a folder before it is there may be told for long that it is not
    made.emplace(folder).make();
  });
  try {
    check_shared_folder(everyone(comms), folder);
    check_weights(training);
    on_everyone(comms, [&] {
      const RunHistory history(options.out);
      if (fs::path checkpoints = history.checkpoints_folder(); fs::exists(checkpoints) && !fs::is_directory(checkpoints))
        fail_usage(checkpoints.string(), "a folder", "a file", "Move it away, or choose another --out");
      if (const fs::path place = save_folder(history); fs::exists(place)) try_to_write(place, everyone(comms).rank());
      refuse_small_limits(training, options);
    });
  } catch (const JobError&) {
    throw;
  } catch (const AgreedError& error) {
    throw JobError(error.what(), error.exit_code());
  }
  refuse_full_disk(training, options);
}

}  // namespace dinoxx
