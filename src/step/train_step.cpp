#include "dinoxx/step/train_step.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

namespace dinoxx {
namespace {

// The figures that all ranks add up in one small collective, on the device of the statistics communicator: loss, one flag per rank, stop
// votes, terms' metrics. float64, so that the mean does not depend on rounding.
struct SharedFigures {
  at::Tensor sums;
  std::unique_ptr<Work> under_way;
};

SharedFigures post_figures(double loss, bool stop, const std::vector<std::pair<std::string, double>>& terms, at::Device device,
                           Communicator& comm) {
  const int size = comm.size();
  at::Tensor sums = at::zeros({size + 2 + static_cast<int64_t>(terms.size())}, at::kDouble);
  double* out = sums.data_ptr<double>();
  const bool finite = std::isfinite(loss);
  out[comm.rank()] = finite ? 0 : 1;
  out[size] = finite ? loss : 0;
  out[size + 1] = stop ? 1 : 0;
  for (size_t i = 0; i < terms.size(); ++i) out[size + 2 + static_cast<int>(i)] = terms[i].second;
  sums = sums.to(device);
  return {sums, comm.all_reduce(sums, ReduceOp::kSum)};
}

void read_figures(const SharedFigures& figures, int size, StepMetrics& metrics) {
  const at::Tensor sums = figures.sums.cpu();
  const double* in = sums.data_ptr<double>();
  for (int rank = 0; rank < size; ++rank)
    if (in[rank] != 0) metrics.bad_ranks.push_back(rank);
  metrics.finite = metrics.bad_ranks.empty();
  metrics.loss = metrics.finite ? in[size] / size : std::nan("");
  metrics.stop = in[size + 1] != 0;
  for (size_t i = 0; i < metrics.terms.size(); ++i) metrics.terms[i].second = in[size + 2 + static_cast<int>(i)] / size;
}

}  // namespace

StepMetrics train_step(TrainState& state, const MethodSpec& spec, const StepInput& input, const StepValues& values, double clip,
                       double student_temp, GradientSync& sync, Communicator& statistics) {
  StepMetrics metrics;
  const auto batch = static_cast<int64_t>(input.positions.size());
  const at::ScalarType type = state.student_flat.compute.scalar_type();
  const at::Device device = state.student_flat.compute.device();
  std::vector<at::Tensor> crops;  // per size [views * B, C, S, S]
  std::vector<RowOrigin> origins;
  int first_view = 0;
  for (const at::Tensor& group : input.crops) {
    crops.push_back(group.to(device, type));
    origins.push_back({input.seed, input.positions, first_view, static_cast<uint64_t>(state.step)});
    first_view += static_cast<int>(group.size(0) / batch);
  }

  // 1. teacher forward on the global views
  LossInputs in;
  in.centre = state.centre.value();
  in.student_temp = student_temp;
  in.values = values;
  if (spec.teacher != TeacherPolicy::kNone) {
    at::NoGradGuard no_grad;
    const std::vector<at::Tensor> globals = first_views(crops, batch, spec.views.global_count());
    // batch statistics, as published, where the network has them; no stochastic depth
    const std::span<const RowOrigin> training =
        std::span<const RowOrigin>(origins).first(state.teacher_buffers.empty() ? 0 : globals.size());
    in.teacher = state.teacher.forward({.crops_by_size = globals, .origins = training, .batch = batch});
  }

  // 2. student forward on all views
  in.student = state.student.forward({.crops_by_size = crops, .origins = origins, .batch = batch});

  // 3. loss
  at::Tensor loss, centre_sum;
  int64_t centre_rows = 0;
  for (const LossTerm& term : spec.terms) {
    LossOutputs out = term.loss(in);
    loss = loss.defined() ? loss + term.weight * out.loss : (term.weight == 1.0 ? out.loss : term.weight * out.loss);
    if (out.centre_sum.defined()) {
      centre_sum = out.centre_sum;
      centre_rows = out.centre_rows;
    }
    for (auto& metric : out.metrics) metrics.terms.push_back(std::move(metric));
  }

  // 4. statistics travel while backward computes
  SharedFigures figures = post_figures(loss.item<double>(), input.wants_stop, metrics.terms, device, statistics);
  std::unique_ptr<Work> centre_work;
  if (centre_sum.defined()) centre_work = statistics.all_reduce(centre_sum, ReduceOp::kSum);

  // 5. backward; buckets are averaged as they become ready
  state.student_flat.zero_grad();
  sync.begin();
  loss.backward();
  sync.finish();
  metrics.overlapped_share = sync.overlapped_share();
  figures.under_way->wait();
  if (centre_work) centre_work->wait();
  read_figures(figures, statistics.size(), metrics);

  // 6. commit, once all ranks have agreed. The averaged gradient is equal on all ranks, so its norm needs no vote.
  at::NoGradGuard no_grad;
  metrics.grad_norm = clip_per_parameter(state.layout, state.student_flat, clip, values.freeze_last_layer);
  metrics.finite = metrics.finite && std::isfinite(metrics.grad_norm);
  if (metrics.finite) {
    state.optimizer.step(state.layout, state.student_flat, values.lr, values.weight_decay, values.freeze_last_layer);
    if (spec.teacher == TeacherPolicy::kEma) ema_update(state.teacher_flat, state.student_flat, values.momentum);
    if (centre_sum.defined()) state.centre.update(centre_sum, centre_rows * statistics.size());
    state.student.commit_statistics();
    state.teacher.commit_statistics();
  } else {
    state.student.discard_statistics();
    state.teacher.discard_statistics();
  }
  ++state.step;
  state.position += static_cast<uint64_t>(input.global_batch);
  return metrics;
}

}  // namespace dinoxx
