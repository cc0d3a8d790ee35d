// Tensors to raw pointers for norm_kernels.cu and sgd_kernels.cu.
#include "flat_cuda.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include "dinoxx/base/error.hpp"
#include "kernels/cuda_stream.hpp"
#include "optim/pieces.hpp"
#include "sgd_kernels.hpp"

namespace dinoxx::optim_detail {
namespace {

void require_float(const at::Tensor& flat, const char* what) {
  if (flat.scalar_type() != at::kFloat)
    fail(what, "float32 masters on a GPU", c10::toString(flat.scalar_type()), "float64 is for tests on the CPU");
}

int size_of(const auto& runs) {
  return static_cast<int>(runs.size());
}

// Of groups whose sums have been made: each is its own part.
std::vector<NormGroup> one_part_each(size_t count) {
  std::vector<NormGroup> groups;
  for (size_t i = 0; i < count; ++i) groups.push_back({static_cast<int32_t>(i), 1});
  return groups;
}

// [2, parts] -> [2, groups] float64.
at::Tensor sums_of_groups(const std::vector<LarsGroup>& groups, const at::Tensor& parts) {
  std::vector<NormGroup> of;
  of.reserve(groups.size());
  for (const LarsGroup& group : groups) of.push_back(group.parts);
  const at::Tensor sums = at::empty({2, size_of(of)}, parts.options()),
                   unused = at::empty({size_of(of)}, parts.options().dtype(at::kFloat));
  for (int row = 0; row < 2; ++row)
    check_launch(launch_clip_coefficients(of.data(), size_of(of), parts[row].data_ptr<double>(), 0, sums[row].data_ptr<double>(),
                                          unused.data_ptr<float>(), current_stream()),
                 "LARS");
  return sums;
}

}  // namespace

void clip_cuda(const std::vector<ClipSegment>& segments, double max_norm, const at::Tensor& grad, const at::Tensor& squares,
               const SumOverShards& over_shards) {
  require_float(grad, "clipping");
  if (segments.empty()) return;
  const c10::DeviceGuard guard(grad.device());
  std::vector<NormRun> runs;
  std::vector<NormGroup> groups;
  for (const ClipSegment& segment : segments) {
    runs.push_back({segment.begin, segment.numel, segment.group, 0});
    while (size_of(groups) <= segment.group) groups.push_back({groups.empty() ? 0 : groups.back().first_part + groups.back().parts, 0});
    groups.back().parts += static_cast<int32_t>(norm_parts(&runs.back(), 1));
  }
  const at::Tensor parts = at::empty({norm_parts(runs.data(), size_of(runs))}, squares.options());
  const at::Tensor coefficients = at::empty({size_of(groups)}, grad.options());
  float* const g = grad.data_ptr<float>();
  const cudaStream_t stream = current_stream();
  check_launch(launch_squares(runs.data(), size_of(runs), g, nullptr, parts.data_ptr<double>(), stream), "gradient norms");
  const auto of_groups = [&](const std::vector<NormGroup>& of, const at::Tensor& from, double most) {
    check_launch(launch_clip_coefficients(of.data(), size_of(of), from.data_ptr<double>(), most, squares.data_ptr<double>(),
                                          coefficients.data_ptr<float>(), stream),
                 "gradient norms");
  };
  if (over_shards) {
    of_groups(groups, parts, 0);
    over_shards(squares);
    of_groups(one_part_each(groups.size()), squares, max_norm);
  } else {
    of_groups(groups, parts, max_norm);
  }
  if (max_norm > 0) check_launch(launch_scale(runs.data(), size_of(runs), coefficients.data_ptr<float>(), g, stream), "clipping");
}

void sgd_cuda(const std::vector<SgdSegment>& segments, const LarsRule* lars, double momentum, FlatState& state,
              const at::Tensor& velocity) {
  require_float(state.master, "SGD");
  const c10::DeviceGuard guard(state.master.device());
  std::vector<SgdRun> runs;
  std::vector<NormRun> adapting;
  std::vector<LarsGroup> groups;
  int32_t parts = 0;
  for (const SgdSegment& segment : segments) {
    const auto decay = static_cast<float>(segment.weight_decay), rate = static_cast<float>(segment.lr);
    SgdRun run{segment.begin, segment.numel, {1, decay, rate}, -1};
    if (lars && segment.adapts) {
      run.group = size_of(groups);
      adapting.push_back({segment.begin, segment.numel, run.group, lars->sum ? 0 : decay});
      const auto now = static_cast<int32_t>(norm_parts(&adapting.back(), 1));
      groups.push_back({{parts, now}, segment.lr, segment.weight_decay});
      parts += now;
    }
    runs.push_back(run);
  }
  float *const p = state.master.data_ptr<float>(), *const g = state.grad.data_ptr<float>();
  const cudaStream_t stream = current_stream();
  at::Tensor rates;  // kept until the update has been enqueued
  SgdRates* of_groups = nullptr;
  if (!groups.empty()) {
    at::Tensor sums = at::empty({2, parts}, state.master.options().dtype(at::kDouble));
    rates = at::empty({static_cast<int64_t>(groups.size() * sizeof(SgdRates) / sizeof(float))}, state.master.options());
    of_groups = reinterpret_cast<SgdRates*>(rates.data_ptr<float>());
    check_launch(launch_squares(adapting.data(), size_of(adapting), p, g, sums.data_ptr<double>(), stream), "LARS");
    if (state.shards) {
      sums = sums_of_groups(groups, sums);
      state.sum_over_shards(sums);
      for (size_t i = 0; i < groups.size(); ++i) groups[i].parts = {static_cast<int32_t>(i), 1};
      parts = size_of(groups);
    }
    check_launch(launch_lars_rates(groups.data(), size_of(groups), sums.data_ptr<double>(), parts, *lars, of_groups, stream), "LARS");
  }
  uint16_t* const bf16 = bf16_copy(state);
  check_launch(
      launch_sgd(runs.data(), size_of(runs), of_groups, static_cast<float>(momentum), p, g, velocity.data_ptr<float>(), bf16, stream),
      "SGD");
  if (!bf16) state.cast();
}

}  // namespace dinoxx::optim_detail
