#include "training.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "base/machine.hpp"
#include "base/process/keep_memory.hpp"
#include "checkpoint/checkpoint_config.hpp"
#include "comm/agree.hpp"
#include "comm/gpu.hpp"
#include "config/config_fields.hpp"
#include "config/train_keys.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "data_pipeline/loader/data_config.hpp"
#include "dinoxx/base/error.hpp"
#include "formats/weight_content.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "ops/ops.hpp"
#include "ops/pixels.hpp"
#include "parallel/parallel_config.hpp"
#include "parallel/sync_groups.hpp"
#include "train/start/other_weights.hpp"
#include "training_config.hpp"

namespace dinoxx {

bool is_chief(const TrainComms& comms) {
  return comms.control->rank() == 0;
}

Communicator& everyone(const TrainComms& comms) {
  return comms.job ? *comms.job->control : *comms.control;
}

void on_everyone(const TrainComms& comms, const std::function<void()>& work) {
  try {
    on_all_ranks(everyone(comms), work);
  } catch (const AgreedError& error) {
    throw JobError(error.what(), error.exit_code());
  }
}

namespace {

SyncGroups groups_of(const Config& config, const MethodSpec& spec, const TrainComms& comms) {
  SyncGroups groups = make_sync_groups(config.parallel->sync, config.parallel->shard_within, comms.gradients, *comms.control, comms.node,
                                       config.head->shard_prototypes);
  on_all_ranks(*comms.control, [&] {
    if (!groups.columns) return;
    const auto check = [&](const HeadPlan& head) { check_columns(prototypes(head.config), groups.shards->size(), head.name); };
    check(spec.network.head);
    if (spec.network.patch_head) check(*spec.network.patch_head);
  });
  return groups;
}

// The GPUs of all ranks are taken to be alike: each asks for its own.
std::string ask_for_room(const TrainOptions& options, const Config& config, const SyncGroups& groups, Communicator& control) {
  std::string warning;
  if (!options.device.is_cuda() || !options.room_on_gpu) return warning;
  on_all_ranks(control, [&] {
    warning = options.room_on_gpu(config, control.size(), groups.shards ? groups.shards->size() : 1,
                                  static_cast<double>(gpu_memory(options.device.index()).total));
  });
  return warning;
}

}  // namespace

Training::Training(const TrainOptions& options, const TrainComms& comms)
    : comms(comms),
      origin(find_origin(*comms.control, options.resume, options.command_line, RunHistory(options.out))),
      inputs(open_inputs(options, *comms.control, origin)),
      config(inputs.config),
      spec(make_method(config)),
      schedules(config, inputs.ids.size()),
      groups(groups_of(config, spec, comms)),
      room_warning(ask_for_room(options, config, groups, *comms.control)),
      state(config, spec, compute_type(config), options.device, groups) {
  if (options.device.is_cpu()) keep_freed_memory();
  at::set_num_threads(static_cast<int>(config.train->threads.value()));
  ops::set_fused(config.train->fused_kernels);
  facts = {print_config(config),    inputs.dataset->fingerprint(), inputs.ids.size(),       options.build, cpu_model(),
           comms.gradients->name(), config.train->threads.value(), config.train->batch_size};
  facts.length = static_cast<uint64_t>(schedules.total_steps() * facts.batch_size);
  facts.sync = describe(state.groups);
  facts.part_bytes = static_cast<int64_t>(config.checkpoint->part_size * 1e9);
  for (const Field& field : config_fields())
    if (inputs.chosen.contains(field.key)) facts.chosen[field.key] = field.get(config);
  ranks_must_agree(*comms.control, fmt::format("{:016x}", state.layout.hash), "parameter layout");
  on_all_ranks(*comms.control, [&] { check_batch(spec, train_images_at_once(config, comms.control->size()), comms.control->size()); });
  // orders of calls of their own: forward and backward of batch norms and of losses over all ranks must not cross the figures
  batch_comm = comms.statistics->split(0, comms.statistics->rank());
  if (!state.student_buffers.empty()) {
    const auto group = comms.statistics->split(0, comms.statistics->rank());
    state.student.set_statistics_group(group);
    state.teacher.set_statistics_group(group);
  }
  if (comms.job && config.train->accumulate > 1)
    fail_usage("train.accumulate", "1 where several students share a teacher", std::to_string(config.train->accumulate),
               "Leave it out, or train the students one by one");
  if (comms.job && groups.columns)
    fail_usage("head.shard_prototypes", "no where several students share a teacher", "yes",
               "Set it to no, or train the students one by one");
  if (groups.columns) prototype_exchange = std::make_unique<PrototypeExchange>(groups);
  if (comms.job) shared_teacher = std::make_unique<SharedTeacher>(comms.job->teacher, comms.job->ranks, config.train->batch_size);
}

int64_t Training::schedule_step() const {
  return (static_cast<int64_t>(state.position) + config.train->batch_size - 1) / config.train->batch_size;
}

int64_t Training::total_steps() const {
  return state.step - schedule_step() + schedules.total_steps();
}

Training::Ahead Training::copies_of(const Batch& batch) const {
  Ahead copies{batch.first_position, {}};
  const auto slots = static_cast<int64_t>(batch.positions.size());
  for (const CropGroup& group : batch.groups)
    copies.groups.emplace_back(at::from_blob(group.bytes.data(), {group.views * slots, 3, group.size, group.size}, at::kByte),
                               state.student_flat.compute.device());
  return copies;
}

void Training::copy_ahead(const Batch& batch) {
  if (!batch.groups.empty() && !batch.groups.front().bytes.empty()) ahead_ = copies_of(batch);
}

StepInput Training::input_of(const Batch& batch) {
  StepInput input;
  const auto slots = static_cast<int64_t>(batch.positions.size());
  if (batch.groups.front().bytes.empty()) {
    for (const CropGroup& group : batch.groups)
      input.crops.push_back(at::from_blob(group.pixels.data(), {group.views * slots, 3, group.size, group.size}, at::kFloat));
  } else {
    // a copy is over when the step that uses it is, which waits for the device, and so before the loader writes there again
    const Ahead copies = ahead_ && ahead_->first_position == batch.first_position ? *std::move(ahead_) : copies_of(batch);
    ahead_.reset();
    const ChannelScale by = channel_scale(spec.views.normalization.value());
    for (const ops::PixelCopy& copy : copies.groups)
      input.crops.push_back(copy.normalized(by.scale, by.shift, state.student_flat.compute.scalar_type()));
  }
  input.positions = batch.positions;
  input.seed = static_cast<uint64_t>(config.train->seed);
  input.masked = draw_masks(spec, batch.groups.front().size, input.positions, input.seed);
  input.guides = inputs.guides.of(batch.sample_ids);
  input.global_batch = config.train->batch_size;
  input.parts = static_cast<int>(config.train->accumulate);
  return input;
}

StepMetrics Training::step(const StepInput& input, const StepValues& values, GradientSync& sync) {
  return train_step(state, spec, input, values, sync, {*comms.statistics, *batch_comm, shared_teacher.get(), prototype_exchange.get()});
}

LoaderConfig Training::loading() const {
  LoaderConfig loading;
  loading.seed = static_cast<uint64_t>(config.train->seed);
  loading.global_batch = static_cast<int>(config.train->batch_size);
  loading.rank = comms.control->rank();
  loading.world_size = comms.control->size();
  loading.workers = static_cast<int>(config.data->workers.value());
  loading.ring = static_cast<int>(config.data->ring);
  loading.balance = config.data->balance;
  if (config.views->sizes_by == "time")
    loading.in_turn_until =
        static_cast<uint64_t>(loading.global_batch * train_length(config).steps(inputs.ids.size(), loading.global_batch));
  loading.max_bad_fraction = config.data->max_bad_fraction;
  loading.cache_decoded = config.data->cache_decoded;
  if (state.student_flat.compute.is_cuda()) {
    loading.bytes = true;
    loading.allocate = [](size_t bytes) {
      const auto memory =
          std::make_shared<at::Tensor>(at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions(at::kByte).pinned_memory(true)));
      return std::shared_ptr<void>(memory, memory->data_ptr());
    };
  }
  return loading;
}

namespace {

std::string told(const nlohmann::json& file) {
  return fmt::format("{} ({} bytes, CRC32C {})", file.value("file", ""), file.value("bytes", uint64_t{0}), file.value("crc32c", ""));
}

// The frozen teacher is in no checkpoint: it must be the one from which the run has learned so far, wherever it lies now.
void note_frozen_teacher(Training& training, RunLog& log) {
  if (!is_chief(training.comms)) return;
  const std::filesystem::path path = weight_path("teacher.distill", training.config.teacher->distill);
  const WeightContent content = content_of(WeightFile::open(path, FileAccess::kHeader));
  nlohmann::json& now = training.facts.frozen;
  now = {{"file", path.string()}, {"bytes", content.bytes}, {"crc32c", fmt::format("{:08x}", content.crc32c)}};
  if (!training.origin.from) return;
  const SavedRun& from = *training.origin.from;
  const nlohmann::json before = from.manifest.value("frozen_teacher", nlohmann::json());
  if (!before.is_object()) {
    const std::string& was = from.settings.config.teacher->distill;
    if (was != training.config.teacher->distill)
      log.say(fmt::format("  resume differs: teacher.distill was {} and is {}; the checkpoint does not say whether this is the same file",
                          was, training.config.teacher->distill));
  } else if (before.value("bytes", uint64_t{0}) != content.bytes || before.value("crc32c", "") != now["crc32c"]) {
    fail_usage("teacher.distill", fmt::format("the teacher from which the run in {} has learned, {}", from.folder.string(), told(before)),
               told(now), "Name the file where it lies now; another teacher is a new run (--out, with model.init_from for the student)");
  }
}

}  // namespace

void load_teacher(Training& training, const TrainOptions& options, RunLog& log) {
  if (training.spec.teacher != TeacherPolicy::kFrozen) return;
  const Config& config = training.config;
  on_everyone(training.comms, [&] {
    note_frozen_teacher(training, log);
    log.say(load_frozen_teacher(config, training.spec, compute_type(config), options.device, training.state));
  });
  training.state.share_frozen();
}

}  // namespace dinoxx
