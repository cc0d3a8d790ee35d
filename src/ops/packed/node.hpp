// What the nodes of the packed blocks share: inputs that may be absent, the kernels' view of groups and branches.
#pragma once
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

#include "kernels/cuda_stream.hpp"
#include "ops/packed.hpp"
#include "token_kernels.hpp"

namespace dinoxx::ops {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

inline bool holds_bf16(const at::Tensor& t) {
  return t.scalar_type() == at::kBFloat16;
}
inline const void* data(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr() : nullptr;
}
inline float* floats(const at::Tensor& t) {
  return t.data_ptr<float>();
}
inline at::Tensor empty_rows(int64_t rows, int64_t columns, const at::Tensor& like) {
  return at::empty({rows, columns}, like.options().requires_grad(false));
}
inline at::Tensor empty_floats(at::IntArrayRef sizes, const at::Tensor& like) {
  return at::empty(sizes, like.options().dtype(at::kFloat).requires_grad(false));
}

inline cuda::RowGroups groups_of(const PackedRows& rows) {
  cuda::RowGroups groups;
  groups.count = static_cast<int>(rows.samples.size());
  for (int i = 0; i < groups.count; ++i) {
    const auto at = static_cast<size_t>(i);
    groups.tokens[i] = static_cast<int>(rows.tokens[at]);
    groups.first_sample[i + 1] = groups.first_sample[i] + static_cast<int>(rows.samples[at]);
    groups.first_row[i + 1] = groups.first_row[i] + rows.samples[at] * rows.tokens[at];
  }
  return groups;
}
inline cuda::Branch branch_of(const PackedRows& rows, const PackedBranch& branch) {
  return {groups_of(running_rows(rows, branch)), branch.slot.defined() ? branch.slot.const_data_ptr<int>() : nullptr,
          branch.gain.defined() ? branch.gain.const_data_ptr<float>() : nullptr};
}
inline bool runs_for_all_alike(const PackedBranch& branch) {
  return !branch.slot.defined() && !branch.gain.defined();
}

inline at::Tensor linear_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return bias.defined() ? at::addmm(bias, x, weight.t()) : at::mm(x, weight.t());
}

/// Undefined tensors are no inputs of a node: those that are there, and which.
struct Inputs {
  std::vector<at::Tensor> list;
  int64_t present = 0;

  void add(const at::Tensor& t) {
    if (t.defined()) {
      present |= int64_t{1} << count;
      list.push_back(t);
    }
    ++count;
  }
  int count = 0;
};
inline bool needs_gradient(const std::vector<at::Tensor>& tensors) {
  return at::GradMode::is_enabled() && std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& t) { return t.requires_grad(); });
}
/// All of them again, with undefined ones in their places.
template <size_t kCount>
std::array<at::Tensor, kCount> expanded(at::ArrayRef<at::Tensor> list, int64_t present) {
  std::array<at::Tensor, kCount> all;
  for (size_t i = 0, next = 0; i < kCount; ++i)
    if (present >> i & 1) all[i] = list[next++].contiguous();
  return all;
}
/// Of gradients in the order of Inputs::add, those whose inputs are there.
template <size_t kCount>
void append_present(variable_list& to, const std::array<at::Tensor, kCount>& gradients, int64_t present) {
  for (size_t i = 0; i < kCount; ++i)
    if (present >> i & 1) to.push_back(gradients[i]);
}

}  // namespace dinoxx::ops
