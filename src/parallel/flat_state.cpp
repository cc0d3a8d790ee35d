#include "flat_state.hpp"

#include <ATen/ATen.h>

#include <unordered_map>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

std::unordered_map<std::string, at::Tensor> matched(const ParamLayout& layout, const NamedTensors& parameters) {
  if (parameters.size() != layout.segments.size())
    fail("flat state", fmt::format("the layout's {} parameters", layout.segments.size()), fmt::format("{}", parameters.size()), "");
  std::unordered_map<std::string, at::Tensor> by_name;
  for (const NamedTensor& parameter : parameters) by_name[parameter.name] = parameter.tensor;
  const at::Device device = parameters[0].tensor.device();
  for (const Segment& segment : layout.segments) {
    const auto found = by_name.find(segment.name);
    if (found == by_name.end())
      fail("flat state", fmt::format("a parameter named {}", segment.name), "none", "The layout belongs to another network");
    const at::Tensor& tensor = found->second;
    if (tensor.sizes() != at::IntArrayRef(segment.shape) || tensor.device() != device)
      fail(segment.name, fmt::format("shape [{}] on {}", fmt::join(segment.shape, ", "), device.str()),
           fmt::format("[{}] on {}", fmt::join(tensor.sizes(), ", "), tensor.device().str()), "The layout belongs to another network");
  }
  return by_name;
}

at::Tensor slice(const at::Tensor& flat, const Segment& segment) {
  return flat.narrow(0, segment.offset, segment.numel);
}

}  // namespace

FlatState::FlatState(const ParamLayout& layout, const NamedTensors& parameters, bool with_grad, at::ScalarType master_dtype,
                     std::optional<at::ScalarType> compute_dtype, std::shared_ptr<const Shards> of_shards)
    : shards(std::move(of_shards)) {
  at::NoGradGuard no_grad;
  std::unordered_map<std::string, at::Tensor> by_name = matched(layout, parameters);
  const at::TensorOptions options = at::TensorOptions(master_dtype).device(parameters[0].tensor.device());
  const at::ScalarType compute_type = compute_dtype.value_or(parameters[0].tensor.scalar_type());
  const ParamLayout& mine = shards ? shards->owned : layout;

  master = at::zeros({mine.numel}, options);
  compute = compute_type == master_dtype ? master : at::zeros({mine.numel}, options.dtype(compute_type));
  values = shards ? at::zeros({layout.numel}, options.dtype(compute_type)) : compute;
  if (with_grad) {
    grad = at::zeros({mine.numel}, options);
    if (!shards)
      whole_grad = grad;
    else if (shards->whole_gradient)
      whole_grad = at::zeros({layout.numel}, options);
  }
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment &segment = layout.segments[s], &own = mine.segments[s];
    at::Tensor tensor = by_name.at(segment.name);  // a handle: the model's own copies see what set_data does
    slice(master, own).copy_(tensor.flatten().narrow(0, own.first, own.numel));
    slice(values, segment).copy_(tensor.flatten());
    tensor.set_requires_grad(false);
    tensor.mutable_grad() = at::Tensor();
    tensor.set_data(slice(values, segment).view(segment.shape));
    if (with_grad && segment.trainable) {
      tensor.set_requires_grad(true);
      if (whole_grad.defined()) tensor.mutable_grad() = slice(whole_grad, segment).view(segment.shape);
    }
  }
  cast();
}

void FlatState::cast() {
  if (compute.is_same(master)) return;
  at::NoGradGuard no_grad;
  compute.copy_(master);
}

void FlatState::post_values() {
  if (!shards) return;
  wait_for_values();
  on_their_way_ = shards->gather(compute, values);
}

void FlatState::wait_for_values() {
  for (const auto& work : on_their_way_) work->wait();
  on_their_way_.clear();
}

void FlatState::publish() {
  cast();
  post_values();
  wait_for_values();
}

void FlatState::zero_grad() {
  if (whole_grad.defined()) whole_grad.zero_();
}

void FlatState::sum_over_shards(const at::Tensor& parts) const {
  if (shards) shards->ranks->all_reduce(parts, ReduceOp::kSum)->wait();
}

at::Tensor FlatState::whole_segment(const ParamLayout& layout, const at::Tensor& buffer, size_t segment, bool wanted) const {
  at::NoGradGuard no_grad;
  const Segment& whole = layout.segments[segment];
  if (!shards) return wanted ? slice(buffer, whole).view(whole.shape).cpu() : at::Tensor();
  // The owners' bits, added up as integers: every one has a zero but where it owns, and -0.0 keeps its sign.
  const at::ScalarType bits = buffer.element_size() == 8 ? at::kLong : at::kInt;
  const at::Tensor all = at::zeros({whole.numel}, buffer.options().dtype(bits));
  const Segment& own = shards->owned.segments[segment];
  all.narrow(0, own.first, own.numel).copy_(slice(buffer, own).view(bits));
  shards->ranks->all_reduce(all, ReduceOp::kSum)->wait();
  return wanted ? all.view(buffer.scalar_type()).view(whole.shape).cpu() : at::Tensor();
}

}  // namespace dinoxx
