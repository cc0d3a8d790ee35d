#include "weights.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <array>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr std::array<std::pair<DType, at::ScalarType>, 7> kTypes{{{DType::kF64, at::kDouble},
                                                                  {DType::kF32, at::kFloat},
                                                                  {DType::kF16, at::kHalf},
                                                                  {DType::kBF16, at::kBFloat16},
                                                                  {DType::kI64, at::kLong},
                                                                  {DType::kI32, at::kInt},
                                                                  {DType::kU8, at::kByte}}};

}  // namespace

at::ScalarType scalar_type(DType dtype) {
  for (const auto& [stored, type] : kTypes)
    if (stored == dtype) return type;
  fail("element type", "one of F64, F32, F16, BF16, I64, I32, U8", dtype_name(dtype),
       "Convert the tensor with the program that made it; 8-bit types are quantised and want their factors");
}

bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

DType dtype_of(at::ScalarType type) {
  for (const auto& [stored, known] : kTypes)
    if (known == type) return stored;
  fail("element type", "one that safetensors files of dinoxx hold", c10::toString(type), "Convert the tensor before it is saved");
}

at::Tensor to_tensor(const TensorView& view) {
  at::Tensor tensor = at::empty(view.shape, scalar_type(view.dtype));
  if (!view.bytes.empty()) std::memcpy(tensor.data_ptr(), view.bytes.data(), view.bytes.size());
  return tensor;
}

at::Tensor read_entry(const WeightEntry& entry) {
  at::Tensor tensor = at::empty(entry.shape, scalar_type(entry.dtype));
  copy_contiguous(entry, {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()});
  return tensor;
}

std::string listed_names(const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  constexpr size_t kShown = 8;
  const std::vector<std::string> head(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown)));
  return fmt::format("{} {}: {}{}; ", names.size(), what, fmt::join(head, ", "), names.size() > kShown ? ", ..." : "");
}

std::map<std::string, TensorView> tensor_views(const NamedTensors& tensors) {
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.device().is_cpu() || !tensor.is_contiguous())
      fail("tensor " + name, "a contiguous tensor in host memory", "another", "Copy it to the host before it is saved");
    TensorView view{
        dtype_of(tensor.scalar_type()), tensor.sizes().vec(), {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()}};
    if (!views.emplace(name, std::move(view)).second) fail("tensor " + name, "unique names", "it twice", "This is a defect of the program");
  }
  return views;
}

void load_named(const WeightFile& file, const std::string& source, const NamedTensors& into, const LoadOptions& options) {
  std::map<std::string, const WeightEntry*> offered;
  for (const WeightEntry& entry : file.entries()) {
    const std::string& name = entry.name;
    const bool ignored =
        std::any_of(options.ignore_prefixes.begin(), options.ignore_prefixes.end(), [&](const auto& p) { return name.starts_with(p); });
    if (name.starts_with(options.prefix) && !ignored) offered.emplace(name.substr(options.prefix.size()), &entry);
  }

  std::vector<std::string> missing, reshaped, unexpected;
  std::vector<const WeightEntry*> found;
  for (const auto& [name, tensor] : into) {
    const auto entry = offered.find(name);
    found.push_back(entry == offered.end() ? nullptr : entry->second);
    if (!found.back()) {
      missing.push_back(name);
      continue;
    }
    if (at::IntArrayRef(found.back()->shape) != tensor.sizes())
      reshaped.push_back(
          fmt::format("{} [{}] instead of [{}]", name, fmt::join(found.back()->shape, ", "), fmt::join(tensor.sizes(), ", ")));
    offered.erase(entry);
  }
  for (const auto& [name, entry] : offered) unexpected.push_back(name);
  if (!missing.empty() || !reshaped.empty() || !unexpected.empty())
    fail("weights in " + source, fmt::format("the {} tensors of this network", into.size()),
         listed_names("missing", missing) + listed_names("of another shape", reshaped) + listed_names("unexpected", unexpected) +
             "nothing was loaded",
         "Use the architecture, patch size and head that the file was made with");

  at::NoGradGuard no_grad;
  for (size_t i = 0; i < into.size(); ++i) into[i].tensor.copy_(read_entry(*found[i]));
}

}  // namespace dinoxx
