#include "dinoxx/optim/adamw.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "adamw_cuda.hpp"
#include "dinoxx/core/error.hpp"
#include "flat_kernels.hpp"

namespace dinoxx {
namespace {

using optim_detail::AdamWConstants;
using optim_detail::flat_kernels;

bool moves(const Segment& segment, bool freeze_last_layer) {
  return segment.trainable && !(freeze_last_layer && segment.last_layer);
}

/// Threads share a segment in pieces of this size; sums are taken piece by piece in order, whatever the number of threads.
constexpr int64_t kPiece = 1 << 16;

struct Piece {
  int64_t begin = 0, numel = 0;
  int segment = 0;
};

std::vector<Piece> pieces_of(const ParamLayout& layout, bool freeze_last_layer) {
  std::vector<Piece> pieces;
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment& segment = layout.segments[s];
    if (!moves(segment, freeze_last_layer)) continue;
    for (int64_t done = 0; done < segment.numel; done += kPiece) {
      pieces.push_back({segment.offset + done, std::min(kPiece, segment.numel - done), static_cast<int>(s)});
    }
  }
  return pieces;
}

void for_each_piece(const std::vector<Piece>& pieces, const std::function<void(size_t)>& work) {
  at::parallel_for(0, static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i);
  });
}

template <class T>
AdamWConstants<T> constants(const AdamWConfig& config, int64_t step, double lr, double weight_decay) {
  const double correction1 = 1.0 - std::pow(config.beta1, static_cast<double>(step));
  const double correction2 = 1.0 - std::pow(config.beta2, static_cast<double>(step));
  return {static_cast<T>(1.0 - lr * weight_decay), static_cast<T>(1.0 - config.beta1),     static_cast<T>(config.beta2),
          static_cast<T>(1.0 - config.beta2),      static_cast<T>(std::sqrt(correction2)), static_cast<T>(config.eps),
          static_cast<T>(-(lr / correction1))};
}

void require_type(const at::Tensor& flat, const char* what) {
  if (flat.scalar_type() != at::kFloat && flat.scalar_type() != at::kDouble)
    fail(what, "float32 or float64 masters", c10::toString(flat.scalar_type()), "");
}

/// Where a pass may write the bf16 copy as it goes; null when there is none or it has another type.
uint16_t* bf16_copy(const FlatState& state) {
  return state.compute.scalar_type() == at::kBFloat16 ? static_cast<uint16_t*>(state.compute.data_ptr()) : nullptr;
}

}  // namespace

AdamW::AdamW(const ParamLayout& layout, at::ScalarType dtype, AdamWConfig config)
    : exp_avg(at::zeros({layout.numel}, dtype)),
      exp_avg_sq(at::zeros({layout.numel}, dtype)),
      segment_steps(layout.segments.size(), 0),
      config_(config) {
  require_type(exp_avg, "AdamW");
}

void AdamW::step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, bool freeze_last_layer) {
  at::NoGradGuard no_grad;
  if (exp_avg.scalar_type() != state.master.scalar_type() || exp_avg.numel() != state.master.numel() ||
      segment_steps.size() != layout.segments.size()) {
    fail("AdamW::step", fmt::format("buffers of {} {} elements", exp_avg.numel(), c10::toString(exp_avg.scalar_type())),
         fmt::format("{} {}", state.master.numel(), c10::toString(state.master.scalar_type())), "The optimizer belongs to another network");
  }
  if (exp_avg.device() != state.master.device()) {  // the network has been built on a GPU, or a checkpoint was read into host memory
    exp_avg = exp_avg.to(state.master.device());
    exp_avg_sq = exp_avg_sq.to(state.master.device());
  }
  for (size_t s = 0; s < layout.segments.size(); ++s) segment_steps[s] += moves(layout.segments[s], freeze_last_layer);
  const auto decay_of = [&](const Segment& segment) { return segment.decay ? weight_decay : 0.0; };

  if (state.master.is_cuda()) {
    std::vector<optim_detail::AdamWRun> runs;
    for (size_t s = 0; s < layout.segments.size(); ++s) {
      const Segment& segment = layout.segments[s];
      if (!moves(segment, freeze_last_layer)) continue;
      runs.push_back({segment.offset, segment.numel, constants<float>(config_, segment_steps[s], lr, decay_of(segment))});
    }
    optim_detail::adamw_cuda(runs, state, exp_avg, exp_avg_sq);
    return;
  }
  const std::vector<Piece> pieces = pieces_of(layout, freeze_last_layer);
  uint16_t* const bf16 = bf16_copy(state);
  const auto run = [&]<class T>(auto kernel, T) {
    std::vector<AdamWConstants<T>> by_segment;
    for (size_t s = 0; s < layout.segments.size(); ++s)
      by_segment.push_back(constants<T>(config_, segment_steps[s], lr, decay_of(layout.segments[s])));
    T *p = state.master.data_ptr<T>(), *g = state.grad.data_ptr<T>(), *m = exp_avg.data_ptr<T>(), *v = exp_avg_sq.data_ptr<T>();
    for_each_piece(pieces, [&](size_t i) {
      const int64_t at = pieces[i].begin;
      kernel(p + at, g + at, m + at, v + at, bf16 ? bf16 + at : nullptr, pieces[i].numel, by_segment[pieces[i].segment]);
    });
  };
  if (state.master.scalar_type() == at::kFloat) {
    run(flat_kernels().adamw_f32, float{});
  } else {
    run(flat_kernels().adamw_f64, double{});
  }
  if (!bf16) state.publish();  // nothing when the network computes in the masters
}

double clip_per_parameter(const ParamLayout& layout, FlatState& state, double max_norm, bool freeze_last_layer) {
  at::NoGradGuard no_grad;
  require_type(state.grad, "clip_per_parameter");
  std::vector<double> squares(layout.segments.size(), 0.0);
  if (state.grad.is_cuda()) {
    std::vector<at::Tensor> views;
    for (const Segment& segment : layout.segments) views.push_back(state.grad.narrow(0, segment.offset, segment.numel));
    const at::Tensor norms = at::stack(at::_foreach_norm(views)).to(at::kDouble).cpu();
    for (size_t s = 0; s < squares.size(); ++s) {
      if (moves(layout.segments[s], freeze_last_layer)) squares[s] = norms.data_ptr<double>()[s] * norms.data_ptr<double>()[s];
    }
  } else {
    const std::vector<Piece> pieces = pieces_of(layout, freeze_last_layer);
    std::vector<double> parts(pieces.size());
    for_each_piece(pieces, [&](size_t i) {
      parts[i] = state.grad.scalar_type() == at::kFloat
                     ? flat_kernels().squares_f32(state.grad.data_ptr<float>() + pieces[i].begin, pieces[i].numel)
                     : flat_kernels().squares_f64(state.grad.data_ptr<double>() + pieces[i].begin, pieces[i].numel);
    });
    for (size_t i = 0; i < pieces.size(); ++i) squares[pieces[i].segment] += parts[i];
  }
  double all = 0;
  for (size_t s = 0; s < squares.size(); ++s) {
    all += squares[s];
    if (max_norm <= 0) continue;
    const double coefficient = max_norm / (std::sqrt(squares[s]) + 1e-6);
    if (coefficient < 1) state.grad.narrow(0, layout.segments[s].offset, layout.segments[s].numel).mul_(coefficient);
  }
  return std::sqrt(all);
}

void ema_update(FlatState& teacher, const FlatState& student, double momentum) {
  at::NoGradGuard no_grad;
  require_type(teacher.master, "ema_update");
  if (teacher.master.numel() != student.master.numel() || teacher.master.scalar_type() != student.master.scalar_type()) {
    fail("ema_update", fmt::format("a teacher of {} elements", student.master.numel()), fmt::format("{}", teacher.master.numel()),
         "Teacher and student must have one layout");
  }
  if (teacher.master.is_cuda()) return optim_detail::ema_cuda(teacher, student, momentum);
  uint16_t* const bf16 = bf16_copy(teacher);
  const auto run = [&]<class T>(auto kernel, T) {
    T* t = teacher.master.data_ptr<T>();
    const T* s = student.master.data_ptr<T>();
    at::parallel_for(0, teacher.master.numel(), kPiece, [&](int64_t begin, int64_t end) {
      kernel(t + begin, s + begin, bf16 ? bf16 + begin : nullptr, end - begin, static_cast<T>(momentum), static_cast<T>(1.0 - momentum));
    });
  };
  if (teacher.master.scalar_type() == at::kFloat) {
    run(flat_kernels().average_f32, float{});
  } else {
    run(flat_kernels().average_f64, double{});
  }
  if (!bf16) teacher.publish();
}

}  // namespace dinoxx
