#include "entry.hpp"

#include <charconv>
#include <cstring>

#include "dinoxx/base/error.hpp"

namespace dinoxx::checkpoint {
namespace {

bool parse_number(std::string_view text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

DType stored_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DType::kF32;
    case at::kDouble:
      return DType::kF64;
    case at::kLong:
      return DType::kI64;
    default:
      fail("checkpoint", "tensors in float32, float64 or int64", c10::toString(type), "Masters are never stored in another type");
  }
}

std::string entry_text(const EntryName& entry) {
  return fmt::format("{}/{}[{}:{}]", entry.buffer, entry.segment, entry.begin, entry.end);
}

bool parse_entry(const std::string& text, EntryName& entry) {
  const size_t slash = text.find('/'), open = text.rfind('['), colon = text.rfind(':');
  if (slash == std::string::npos || open == std::string::npos || colon == std::string::npos || text.back() != ']' ||
      !(slash < open && open < colon))
    return false;
  entry.buffer = text.substr(0, slash);
  entry.segment = text.substr(slash + 1, open - slash - 1);
  const std::string_view view(text);
  return parse_number(view.substr(open + 1, colon - open - 1), entry.begin) &&
         parse_number(view.substr(colon + 1, view.size() - colon - 2), entry.end);
}

at::Tensor in_main_memory(const at::Tensor& tensor) {
  if (tensor.device().is_cpu()) return tensor;
  at::Tensor copy = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
  copy.copy_(tensor);
  return copy;
}

TensorView view_of(const at::Tensor& tensor) {
  TensorView view;
  view.dtype = stored_type(tensor.scalar_type());
  if (!tensor.is_contiguous() || !tensor.device().is_cpu())
    fail("checkpoint", "contiguous tensors in main memory", "another layout", "Copy the tensor first");
  view.shape = tensor.sizes().vec();
  view.bytes = {static_cast<const std::byte*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())};
  return view;
}

void require_fit(const at::Tensor& tensor, int64_t numel, const TensorView& view, const std::string& subject) {
  const DType type = stored_type(tensor.scalar_type());
  const size_t bytes = static_cast<size_t>(numel) * tensor.element_size();
  if (type != view.dtype || bytes != view.bytes.size())
    fail(subject, fmt::format("{} bytes of {}", bytes, dtype_name(type)),
         fmt::format("{} bytes of {}", view.bytes.size(), dtype_name(view.dtype)), "Resume with the model that was saved");
}

void copy_part(const at::Tensor& tensor, const TensorView& view, int64_t first) {
  const TensorView target = view_of(tensor);
  std::memcpy(tensor.data_ptr(), view.bytes.subspan(static_cast<size_t>(first) * tensor.element_size(), target.bytes.size()).data(),
              target.bytes.size());
}

}  // namespace dinoxx::checkpoint
