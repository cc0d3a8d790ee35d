#include "train_step.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/gram.hpp"
#include "figures.hpp"
#include "loss/monitors.hpp"
#include "ops/to_device.hpp"
#include "optim/clip.hpp"
#include "optim/ema.hpp"

namespace dinoxx {
namespace {

// What the loss of a step, or of a part of it, leaves for its end.
struct Total {
  at::Tensor loss;
  CentreSum centre, patch_centre;
  StepFigures figures;

  void add_part(Total part, int parts) {
    if (parts == 1) {
      *this = std::move(part);
      return;
    }
    const auto add = [](CentreSum& to, const CentreSum& of) {
      if (!of.sum.defined()) return;
      to.sum = to.sum.defined() ? to.sum + of.sum : of.sum;
      to.rows += of.rows;
    };
    add(centre, part.centre);
    add(patch_centre, part.patch_centre);
    figures.add_part(part.figures, 1.0 / parts);
  }
};

// The images of one part: slots [part n, (part + 1) n) of the rank's.
StepInput part_of(const StepInput& input, int part) {
  if (input.parts == 1) return input;
  const auto all = static_cast<int64_t>(input.positions.size()), slots = all / input.parts;
  const auto rows = [&](const at::Tensor& tensor) {  // [views all, ...] -> [views slots, ...]
    std::vector<int64_t> shape = tensor.sizes().vec();
    shape.front() = -1;
    return tensor.unflatten(0, {-1, all}).narrow(1, part * slots, slots).reshape(shape);
  };
  StepInput one = input;
  one.positions = {input.positions.begin() + part * slots, input.positions.begin() + (part + 1) * slots};
  for (at::Tensor& crops : one.crops) crops = rows(crops);
  if (one.masked.defined()) one.masked = rows(one.masked);
  for (at::Tensor& targets : one.guides) targets = targets.narrow(0, part * slots, slots);
  return one;
}

// Crops as the networks see them: on their device, in their type, with the origin of each row.
struct StepCrops {
  std::vector<at::Tensor> student;  // per size, or per view, [views * B, C, S, S]
  std::vector<RowOrigin> origins;
  at::Tensor gram;  // [G B, C, S', S'], the Gram teacher's own
};

StepCrops prepared(const MethodSpec& spec, const StepInput& input, const TrainState& state, int64_t batch) {
  const at::Tensor& like = state.student_flat.compute;
  StepCrops crops;
  int view = 0;
  for (const at::Tensor& group : input.crops) {
    const at::Tensor pixels = to_device(group.to(like.scalar_type()), like.device());
    if (view >= spec.student_views()) {
      crops.gram = pixels;
      continue;
    }
    const int views = static_cast<int>(group.size(0) / batch), together = spec.split_views ? 1 : views;
    for (int first = 0; first < views; first += together) {
      crops.student.push_back(pixels.narrow(0, first * batch, together * batch));
      crops.origins.push_back({input.seed, input.positions, view + first, static_cast<uint64_t>(state.step)});
    }
    view += views;
  }
  return crops;
}

MaskInputs mask_inputs(const at::Tensor& masked, int64_t batch, at::Device device) {
  MaskInputs masks;
  if (!masked.defined()) return masks;
  const at::Tensor crop_and_patch = masked.nonzero(), crop = crop_and_patch.select(1, 0);  // [M, 2] -> [M]
  masks.rows = crop * masked.size(1) + crop_and_patch.select(1, 1);
  masks.weights = masked.sum(1).to(at::kDouble).reciprocal().index_select(0, crop);
  masks.slots = crop.remainder(batch);
  masks.crops = masked.size(0);
  masks.on_host = masked;
  masks.masked = to_device(masked, device);
  masks.rows = to_device(masks.rows, device);
  masks.weights = to_device(masks.weights, device);
  return masks;
}

bool wants(const MethodSpec& spec, const StepValues& values, Need need) {
  for (const LossTerm& term : spec.terms)
    if (term.weight(values) != 0 && std::find(term.needs.begin(), term.needs.end(), need) != term.needs.end()) return true;
  return false;
}

// Patches of the Gram teacher on the student's grid.
at::Tensor gram_patches(const TrainState& state, const GramPlan& plan, const at::Tensor& globals, const StepCrops& crops) {
  const Network& network = plan.source == "ema" ? state.teacher : state.gram->network;
  const at::Tensor& images = crops.gram.defined() ? crops.gram : globals;
  const at::Tensor patches = network.backbone().forward_features({images, nullptr, {}, /*local=*/false}).patches;
  const int64_t from = images.size(-1) / plan.patch_size, to = globals.size(-1) / plan.patch_size;
  return reduce_tokens(patches, from, from, to, to);
}

// What the network with which the student began makes of the global views.
void anchor_features(const Network& original, const std::vector<at::Tensor>& globals, int64_t batch, LossInputs& in) {
  std::vector<at::Tensor> features, patches;
  for (const at::Tensor& images : globals) {
    const Features found = original.backbone().forward_features({images, nullptr, {}, /*local=*/false});
    features.push_back(found.cls);
    patches.push_back(found.patches);
  }
  in.anchor_features = at::cat(features).unflatten(0, {-1, batch});
  in.anchor_patches = at::cat(patches);
}

// Signs of collapse in what the step has computed anyway.
void monitor(const LossInputs& in, bool prototypes, Communicator& comm, StepFigures& figures) {
  at::NoGradGuard no_grad;
  const ForwardOutput& judged = in.teacher.features.defined() ? in.teacher : in.student;
  const at::Tensor& features = judged.features[0];
  // one image has no spread and shares no prototypes: not a number, which raises no alarm
  const double none = std::nan("");
  const FeatureSpread spread = features.size(0) < 2 ? FeatureSpread{none, none} : feature_spread(features);
  figures.add_metric("feature_deviation", spread.deviation);
  figures.add_metric("effective_rank", spread.effective_rank);
  if (!prototypes || !in.teacher_scores.views) return;
  const Scores& logits = *in.teacher_scores.views;
  const at::Tensor centre = in.centre.defined() ? in.centre : at::zeros({logits.size(-1)}, logits.rows().options().dtype(at::kFloat));
  const PrototypeUsage usage = prototype_usage(logits, centre, in.values.teacher_temp, &comm);
  figures.add_metric("prototypes_used", usage.used);
  figures.add_metric("prototype_perplexity", usage.rows > in.global_views ? usage.perplexity : none);  // of all ranks' images
}

// By name, in the order in which backward makes them; of equal gradients all ranks find the same. Collective where they are sharded.
std::string first_not_finite(const ParamLayout& owned, const FlatState& state) {
  const auto count = static_cast<int64_t>(owned.segments.size());
  int64_t first = 0;
  const auto finite = [&](const Segment& s) { return state.grad.narrow(0, s.offset, s.numel).isfinite().all().item<bool>(); };
  while (first < count && finite(owned.segments[static_cast<size_t>(first)])) ++first;
  if (state.shards) {
    const at::Tensor least = at::full({1}, first, state.grad.options().dtype(at::kLong));
    state.shards->ranks->all_reduce(least, ReduceOp::kMin)->wait();
    first = least.item<int64_t>();
  }
  return first < count ? owned.segments[static_cast<size_t>(first)].name : "";
}

Total weighted_sum(const MethodSpec& spec, const LossInputs& in) {
  Total total;
  for (const LossTerm& term : spec.terms) {
    const double weight = term.weight(in.values);
    if (weight == 0) continue;
    LossOutputs out = term.loss(in);
    const at::Tensor weighted = weight == 1.0 ? out.loss : weight * out.loss;
    total.loss = total.loss.defined() ? total.loss + weighted : weighted;
    total.figures.add_term(term.name, weight, out.value ? *out.value : Figure(out.loss.detach()));
    if (out.centre.sum.defined()) total.centre = out.centre;
    if (out.patch_centre.sum.defined()) total.patch_centre = out.patch_centre;
    for (auto& [name, value] : out.metrics) total.figures.add_metric(name, std::move(value));
  }
  return total;
}

}  // namespace

at::Tensor draw_masks(const MethodSpec& spec, int global_size, std::span<const uint64_t> positions, uint64_t seed) {
  if (!spec.masks) return {};
  const int grid = global_size / spec.masks->patch_size;
  std::vector<uint8_t> masked;
  const int views = spec.views.global_count();
  make_masks(spec.masks->spec, grid, grid, views, positions, seed, masked);
  return at::tensor(masked, at::kByte).view({views * static_cast<int64_t>(positions.size()), grid * grid}).to(at::kBool);
}

namespace {

bool has_prototypes(const MethodSpec& spec) {
  return prototypes(spec.network.head.config) > 0;
}

int64_t prototypes_of(const MethodSpec& spec) {
  return out_dim(spec.network.head.config);
}
int64_t patch_prototypes_of(const MethodSpec& spec) {
  return out_dim(spec.network.patch_head.value_or(spec.network.head).config);
}

// As the losses over prototypes take it: logits, or, where `of` gave what stands in front of them, both factors.
ViewScores view_scores(const MethodSpec& spec, const Network& network, const ForwardOutput& of, bool factors,
                       const PrototypeExchange* exchange) {
  const bool patches = of.patch_logits.defined();
  ViewScores scores;
  if (!factors) {
    scores.views = of.logits;
    if (patches) scores.patches = of.patch_logits;
  } else if (!exchange) {
    scores.views = Scores(of.logits, network.prototypes(), spec.rows_at_once);
    if (patches) scores.patches = Scores(of.patch_logits, network.patch_prototypes(), spec.rows_at_once);
  } else {
    const PrototypeShards* const shards = &exchange->shards();
    scores.views = Scores(exchange->views(of.logits), exchange->own(network.prototypes(), prototypes_of(spec)), spec.rows_at_once, shards);
    if (patches)
      scores.patches = Scores(exchange->patches(of.patch_logits), exchange->own(network.patch_prototypes(), patch_prototypes_of(spec)),
                              spec.rows_at_once, shards);
  }
  return scores;
}

// Of the teacher's patches, [1, K'], or one row of each rank.
Scores patch_mean_scores(const MethodSpec& spec, const Network& teacher, const at::Tensor& mean, const PrototypeExchange* exchange) {
  if (!exchange) return {mean.unsqueeze(0), teacher.patch_prototypes()};
  const at::Tensor means = exchange->views(mean.view({1, 1, -1}))[0];
  return {means, exchange->own(teacher.patch_prototypes(), patch_prototypes_of(spec)), 0, &exchange->shards()};
}

// A part of a step up to its loss, and what the networks gave for it.
struct Forward {
  LossInputs in;
  Total total;
  bool job_stops = false;
};

Forward forward_part(TrainState& state, const MethodSpec& spec, const StepInput& input, const StepValues& values, const StepComms& comms) {
  Forward result;
  const auto batch = static_cast<int64_t>(input.positions.size());
  const at::Device device = state.student_flat.compute.device();
  const StepCrops crops = prepared(spec, input, state, batch);
  LossInputs& in = result.in;
  in.values = values;
  in.comm = &comms.batch;
  in.seed = input.seed;
  in.step = static_cast<uint64_t>(state.step);
  in.global_views = spec.views.global_count();
  in.masks = mask_inputs(input.masked, batch, device);
  for (const at::Tensor& targets : input.guides) in.guide_targets.push_back(to_device(targets, device));
  in.guide_head = [&state](size_t guide, const at::Tensor& features) { return state.student.guide(guide, features); };
  if (state.centre) in.centre = state.centre->value();
  if (state.patch_centre) in.patch_centre = state.patch_centre->value();
  PrototypeExchange* const exchange = comms.prototypes;
  const bool patch_loss = wants(spec, values, Need::kMasks), factors = has_prototypes(spec) && (spec.rows_at_once > 0 || exchange);
  if (exchange) {
    if (in.centre.defined()) in.centre = exchange->own(in.centre, prototypes_of(spec));
    if (in.patch_centre.defined()) in.patch_centre = exchange->own(in.patch_centre, patch_prototypes_of(spec));
    if (patch_loss) exchange->gather_masks(in.masks, batch);
  }

  // 1. teacher forward on the global views
  {
    at::NoGradGuard no_grad;
    const std::vector<at::Tensor> globals = first_views(crops.student, batch, static_cast<int>(in.global_views));
    if (comms.teacher) {
      auto shared = comms.teacher->forward(*state.frozen, {globals.front(), patch_loss ? input.masked : at::Tensor(), input.wants_stop});
      in.teacher = std::move(shared.teacher);
      in.teacher_scores = view_scores(spec, *state.frozen, in.teacher, /*factors=*/false, nullptr);
      result.job_stops = shared.stop;
    } else if (spec.teacher != TeacherPolicy::kNone) {
      const Network& teacher = spec.teacher == TeacherPolicy::kFrozen ? *state.frozen : state.teacher;
      // batch statistics, as published, where the network learns and has them; no stochastic depth
      const bool statistics = spec.teacher == TeacherPolicy::kEma && !state.teacher_buffers.empty();
      ForwardInput forward{.crops_by_size = globals, .batch = batch};
      if (statistics) forward.origins = std::span<const RowOrigin>(crops.origins).first(globals.size());
      if (patch_loss) forward.masked_rows = in.masks.rows;
      forward.patches = wants(spec, values, Need::kTeacherPatches);
      forward.patch_mean = wants(spec, values, Need::kPatchMean);
      forward.averaged = true;
      forward.bottlenecks = factors;
      in.teacher = teacher.forward(forward);
      if (in.teacher.logits.defined()) in.teacher_scores = view_scores(spec, teacher, in.teacher, factors, exchange);
      if (in.teacher.patch_mean.defined()) in.patch_mean = patch_mean_scores(spec, teacher, in.teacher.patch_mean, exchange);
    }
    if (wants(spec, values, Need::kAnchor)) anchor_features(state.gram->network, globals, batch, in);
    if (wants(spec, values, Need::kGramTeacher)) in.gram_patches = gram_patches(state, *spec.gram, globals.front(), crops);
  }

  // 2. student forward on all views
  ForwardInput forward{.crops_by_size = crops.student, .origins = crops.origins, .batch = batch};
  if (spec.masks && !spec.masks->student_sees_all) forward.masked = in.masks.masked;
  if (patch_loss) forward.masked_rows = in.masks.rows;
  forward.patches = wants(spec, values, Need::kPatches);
  forward.project_patches = wants(spec, values, Need::kPatchProjections);
  forward.fixed_backbone = values.thawed == 0;
  forward.predict = true;
  forward.projections = wants(spec, values, Need::kProjections);
  forward.bottlenecks = factors;
  in.student = state.student.forward(forward);
  in.student_scores = view_scores(spec, state.student, in.student, factors, exchange);

  // 3. loss
  result.total = weighted_sum(spec, in);
  if (exchange) {
    CentreSum &centre = result.total.centre, &patch_centre = result.total.patch_centre;
    if (centre.sum.defined()) centre = exchange->spread(centre, prototypes_of(spec));
    if (patch_centre.sum.defined()) patch_centre = exchange->spread(patch_centre, patch_prototypes_of(spec));
  }
  return result;
}

}  // namespace

StepMetrics train_step(TrainState& state, const MethodSpec& spec, const StepInput& input, const StepValues& values, GradientSync& sync,
                       const StepComms& comms) {
  StepMetrics metrics;
  if (values.refresh_gram && state.gram) {
    const at::NoGradGuard no_grad;
    state.gram->flat.master.copy_(state.teacher_flat.master);
    state.gram->flat.publish();
  }
  Total total;
  bool job_stops = false;
  std::vector<std::unique_ptr<Work>> centre_works;
  for (int part = 0; part < input.parts; ++part) {
    const bool last = part + 1 == input.parts;
    // 1. to 3.
    Forward now = forward_part(state, spec, part_of(input, part), values, comms);
    at::Tensor loss = std::exchange(now.total.loss, {});
    if (input.parts > 1) loss = loss / input.parts;
    total.add_part(std::move(now.total), input.parts);
    job_stops = now.job_stops;

    // 4. statistics travel while backward computes
    if (last) {
      if (input.monitor) monitor(now.in, has_prototypes(spec), comms.batch, total.figures);
      total.figures.post(input.wants_stop, total.centre.rows, total.patch_centre.rows, state.student_flat.compute.device(),
                         comms.statistics, static_cast<int64_t>(state.layout.segments.size()));
      for (const CentreSum* centre : {&total.centre, &total.patch_centre})
        if (centre->sum.defined()) centre_works.push_back(comms.statistics.all_reduce(centre->sum, ReduceOp::kSum));
    }

    // 5. backward; buckets are averaged as they become ready
    if (part == 0) {
      state.student_flat.zero_grad();
      sync.begin(input.parts, /*all=*/values.thawed > 0);
    }
    loss.backward();
    if (!last) sync.end_pass();
  }
  sync.finish();
  metrics.overlapped_share = sync.overlapped_share();
  for (const auto& work : centre_works) work->wait();

  // 6. clip, and read: the one place where the host waits for a GPU
  at::NoGradGuard no_grad;
  const std::vector<SegmentRule> rules = state.rules_of(values);
  clip_gradient(state.owned(), state.student_flat, state.clip, state.clip_by_module ? ClipBy::kModule : ClipBy::kParameter, rules,
                total.figures.room());
  StepFigures::Summed summed = total.figures.read();
  metrics.loss = summed.loss;
  metrics.finite = summed.bad_ranks.empty();
  metrics.bad_ranks = std::move(summed.bad_ranks);
  metrics.bad_term = std::move(summed.bad_term);
  metrics.terms = std::move(summed.metrics);
  metrics.stop = comms.teacher ? job_stops : summed.stop;

  // 7. commit, once all ranks have agreed. The averaged gradient is equal on all ranks, so its norm needs no vote.
  metrics.grad_norm = gradient_norm(summed.room);
  metrics.finite = metrics.finite && std::isfinite(metrics.grad_norm);
  if (metrics.finite) {
    state.optimizer->step(state.owned(), state.student_flat, values.lr, values.weight_decay, rules);
    state.student_flat.post_values();  // while the average is taken
    state.student.commit_statistics();
    state.teacher.commit_statistics();
    if (spec.teacher == TeacherPolicy::kNone) {
      ema_update(state.teacher_flat, state.student_flat, 0);
      for (size_t i = 0; i < state.teacher_buffers.size(); ++i) state.teacher_buffers[i].tensor.copy_(state.student_buffers[i].tensor);
    } else {
      ema_update(state.teacher_flat, state.student_flat, values.momentum, state.averaged(values, rules));
    }
    state.teacher_flat.post_values();
    state.student_flat.wait_for_values();
    state.teacher_flat.wait_for_values();
    if (summed.centre_rows > 0) state.centre->update(total.centre.sum, summed.centre_rows);
    if (summed.patch_centre_rows > 0) state.patch_centre->update(total.patch_centre.sum, summed.patch_centre_rows);
  } else {
    if (metrics.bad_ranks.empty()) metrics.bad_parameter = first_not_finite(state.owned(), state.student_flat);
    state.student.discard_statistics();
    state.teacher.discard_statistics();
  }
  ++state.step;
  state.position += static_cast<uint64_t>(input.global_batch);
  return metrics;
}

}  // namespace dinoxx
