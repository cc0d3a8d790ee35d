#include "param_layout.hpp"

#include <ATen/ATen.h>

#include <set>
#include <unordered_map>

#include "base/machine.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// What the hash of a layout is of: texts with a zero behind them, numbers as eight bytes, lowest first. Goes into checkpoints.
void append(std::string& bytes, std::string_view text) {
  bytes.append(text);
  bytes.push_back('\0');
}
void append(std::string& bytes, int64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>((static_cast<uint64_t>(value) >> shift) & 0xff));
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.ends_with(end);
}

}  // namespace

ParamLayout ParamLayout::build(const NamedTensors& in_execution_order, int64_t bucket_bytes, bool freeze_weight_g) {
  if (in_execution_order.empty()) fail("parameter layout", "a network with parameters", "none", "");
  if (bucket_bytes < 4) fail_usage("bucket size", "4 bytes or more", fmt::format("{}", bucket_bytes), "");
  const int64_t bucket_numel = bucket_bytes / 4;

  ParamLayout layout;
  std::set<std::string> names;
  Bucket bucket;
  int64_t end = 0;
  const auto close_bucket = [&] {
    bucket.last_segment = static_cast<int>(layout.segments.size());
    bucket.end = bucket.begin + round_up(end - bucket.begin, kBucketMultiple);
    layout.buckets.push_back(bucket);
    bucket = {bucket.end, bucket.end, bucket.last_segment, bucket.last_segment};
    end = bucket.begin;
  };
  for (auto parameter = in_execution_order.rbegin(); parameter != in_execution_order.rend(); ++parameter) {
    const at::Tensor& tensor = parameter->tensor;
    const std::string& name = parameter->name;
    if (name.empty() || !names.insert(name).second)
      fail("parameter layout", "names that are there once", fmt::format("'{}' again or empty", name), "");
    if (!tensor.defined() || tensor.numel() == 0) fail(name, "a parameter with elements", "an empty one", "");
    Segment segment;
    segment.name = name;
    segment.offset = round_up(end, kSegmentAlignment);
    segment.numel = tensor.numel();
    segment.shape = tensor.sizes().vec();
    segment.decay = tensor.dim() != 1 && !ends_with(name, ".bias");
    segment.last_layer = name.find("last_layer") != std::string::npos;
    segment.trainable = !(freeze_weight_g && ends_with(name, "last_layer.weight_g"));
    end = segment.offset + segment.numel;
    layout.segments.push_back(std::move(segment));
    if (end - bucket.begin >= bucket_numel) close_bucket();
  }
  if (end > bucket.begin) close_bucket();
  layout.numel = layout.buckets.back().end;

  std::string bytes;
  for (const Segment& segment : layout.segments) {
    append(bytes, segment.name);
    append(bytes, static_cast<int64_t>(segment.shape.size()));
    for (const int64_t length : segment.shape) append(bytes, length);
    append(bytes, segment.offset);
  }
  append(bytes, layout.numel);
  layout.hash = text_hash(bytes);
  return layout;
}

FlatState::FlatState(const ParamLayout& layout, const NamedTensors& parameters, bool with_grad, at::ScalarType master_dtype,
                     std::optional<at::ScalarType> compute_dtype) {
  at::NoGradGuard no_grad;
  if (parameters.size() != layout.segments.size()) {
    fail("flat state", fmt::format("the layout's {} parameters", layout.segments.size()), fmt::format("{}", parameters.size()), "");
  }
  std::unordered_map<std::string, at::Tensor> by_name;
  for (const NamedTensor& parameter : parameters) by_name[parameter.name] = parameter.tensor;
  const at::Device device = parameters[0].tensor.device();
  const at::ScalarType compute_type = compute_dtype.value_or(parameters[0].tensor.scalar_type());

  master = at::zeros({layout.numel}, at::TensorOptions(master_dtype).device(device));
  compute = compute_type == master_dtype ? master : at::zeros({layout.numel}, at::TensorOptions(compute_type).device(device));
  if (with_grad) grad = at::zeros_like(master);
  for (const Segment& segment : layout.segments) {
    const auto found = by_name.find(segment.name);
    if (found == by_name.end())
      fail("flat state", fmt::format("a parameter named {}", segment.name), "none", "The layout belongs to another network");
    at::Tensor tensor = found->second;  // a handle: the model's own copies see what set_data does
    if (tensor.sizes() != at::IntArrayRef(segment.shape) || tensor.device() != device) {
      fail(segment.name, fmt::format("shape [{}] on {}", fmt::join(segment.shape, ", "), device.str()),
           fmt::format("[{}] on {}", fmt::join(tensor.sizes(), ", "), tensor.device().str()), "The layout belongs to another network");
    }
    const auto view = [&](const at::Tensor& flat) { return flat.narrow(0, segment.offset, segment.numel).view(segment.shape); };
    view(master).copy_(tensor);
    if (!compute.is_same(master)) view(compute).copy_(tensor);
    tensor.set_requires_grad(false);
    tensor.mutable_grad() = at::Tensor();
    tensor.set_data(view(compute));
    if (with_grad && segment.trainable) {
      tensor.set_requires_grad(true);
      tensor.mutable_grad() = view(grad);
    }
  }
}

void FlatState::publish() {
  if (compute.is_same(master)) return;
  at::NoGradGuard no_grad;
  compute.copy_(master);
}

void FlatState::zero_grad() {
  if (grad.defined()) grad.zero_();
}

}  // namespace dinoxx
