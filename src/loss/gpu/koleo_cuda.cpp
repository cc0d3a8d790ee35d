// Tensors to raw pointers for the kernels of koleo_kernels.cu.
#include "koleo_cuda.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include "kernels/cuda_stream.hpp"
#include "koleo_kernels.hpp"
#include "loss/loss_common.hpp"

namespace dinoxx::loss_cuda {
namespace {

KoleoRows rows_of(const KoleoForward& f, int64_t group) {
  KoleoRows rows;
  rows.count = f.normalized.size(0);
  rows.dim = f.normalized.size(1);
  rows.group = group;
  rows.neighbours = f.nearest.size(1);
  rows.normalized = f.normalized.mutable_data_ptr<float>();
  rows.norm = f.norm.mutable_data_ptr<float>();
  rows.nearest = f.nearest.mutable_data_ptr<int32_t>();
  rows.distance = f.distance.mutable_data_ptr<float>();
  return rows;
}

}  // namespace

bool takes_koleo(const at::Tensor& features) {
  const at::ScalarType type = features.scalar_type();
  return ops::fused() && kernels_run_on(features.device()) && (type == at::kFloat || type == at::kBFloat16);
}

KoleoForward koleo_forward(const at::Tensor& features, int64_t group, int64_t top_k, double eps) {
  const c10::DeviceGuard guard(features.device());
  const int64_t count = features.size(0), dim = features.size(1);
  const at::TensorOptions floats = features.options().dtype(at::kFloat);
  const KoleoForward f{at::empty({}, floats), at::empty({count, dim}, floats), at::empty({count}, floats),
                       at::empty({count, top_k}, floats.dtype(at::kInt)), at::empty({count, top_k}, floats)};
  const KoleoRows rows = rows_of(f, group);
  const auto small = static_cast<float>(eps);
  check_launch(launch_normalize(loss_common::storage_of(features), features.const_data_ptr(), rows, small, current_stream()), "KoLeo");
  const at::Tensor groups = f.normalized.view({count / group, group, dim}), dots = at::bmm(groups, groups.transpose(1, 2));
  check_launch(launch_nearest(dots.const_data_ptr<float>(), rows, small, f.loss.mutable_data_ptr<float>(), current_stream()), "KoLeo");
  return f;
}

at::Tensor koleo_backward(const KoleoForward& forward, int64_t group, double eps, const at::Tensor& weight, at::ScalarType type) {
  const c10::DeviceGuard guard(forward.normalized.device());
  const at::Tensor grad = at::empty_like(forward.normalized, forward.normalized.options().dtype(type));
  const at::Tensor scratch = at::empty_like(forward.normalized);
  check_launch(
      launch_koleo_backward(loss_common::storage_of(grad), grad.mutable_data_ptr(), rows_of(forward, group), static_cast<float>(eps),
                            weight.const_data_ptr<float>(), scratch.mutable_data_ptr<float>(), current_stream()),
      "KoLeo");
  return grad;
}

}  // namespace dinoxx::loss_cuda
