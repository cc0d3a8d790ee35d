#include "golden.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "model/weights/weights.hpp"
#include "source_dir.hpp"

namespace dinoxx::golden {
namespace {

uint64_t fnv1a64(const std::string& text) {
  uint64_t h = 0xCBF29CE484222325u;
  for (const unsigned char c : text) h = (h ^ c) * 0x100000001B3u;
  return h;
}

uint64_t splitmix64(uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

Fixture::Fixture(const std::string& name) : file_(golden_dir() / (name + ".safetensors")) {}

at::Tensor Fixture::tensor(const std::string& name) const {
  return to_tensor(file_.at(name));
}

std::vector<std::string> Fixture::names() const {
  std::vector<std::string> all;
  for (const auto& [name, view] : file_.tensors()) all.push_back(name);
  return all;
}

testing::AssertionResult Fixture::matches(const std::string& name, const at::Tensor& actual, double tolerance) const {
  if (has(name)) return near(name, actual, tensor(name), tolerance);
  const at::Tensor expected = tensor(name + "#digest"), flat = actual.detach().to(at::kDouble).reshape(-1);
  const int64_t samples = expected.numel() - 2;
  const at::Tensor index = at::arange(samples, at::kLong).mul_(flat.numel()).floor_divide_(samples);
  const at::Tensor norm = flat.norm(), product = flat.dot(uniform(name, {flat.numel()}));
  const double scale = expected[0].item<double>();
  // the product of n numbers adds their errors up, as the norm does: both against the norm
  auto result = near(name + " (norm)", norm, expected[0], tolerance);
  if (result && !(std::abs(product.item<double>() - expected[1].item<double>()) <= tolerance * scale))
    result = testing::AssertionFailure() << name << " (product): " << product.item<double>() << " instead of "
                                         << expected[1].item<double>();
  return result ? near(name + " (samples)", flat.index_select(0, index), expected.narrow(0, 2, samples), tolerance) : result;
}

at::Tensor uniform(const std::string& name, at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, at::kDouble);
  double* out = values.data_ptr<double>();
  const uint64_t start = fnv1a64(name);
  for (int64_t i = 0; i < values.numel(); ++i)
    out[i] = static_cast<double>(splitmix64(start + static_cast<uint64_t>(i)) >> 11) * 0x1.0p-52 - 1.0;
  return values;
}

void fill_parameters(const NamedTensors& parameters, const std::string& keep) {
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : parameters) {
    const at::Tensor u = uniform(name, tensor.sizes());
    if (!keep.empty() && name.ends_with(keep))
      tensor.fill_(1.0);
    else if (name.ends_with("weight_g") || (name.find("norm") != std::string::npos && name.ends_with(".weight")))
      tensor.copy_(u * 0.2 + 1.0);
    else if (name.ends_with("bias"))
      tensor.copy_(u * 0.2);
    else if (name.ends_with("cls_token") || name.ends_with("pos_embed"))
      tensor.copy_(u * 0.5);
    else
      tensor.copy_(u * std::sqrt(3.0 * static_cast<double>(tensor.size(0)) / static_cast<double>(tensor.numel())));
  }
}

testing::AssertionResult near(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (!actual.defined()) return testing::AssertionFailure() << what << ": undefined tensor";
  if (actual.sizes() != expected.sizes())
    return testing::AssertionFailure() << fmt::format("{}: shape [{}] instead of [{}]", what, fmt::join(actual.sizes(), ", "),
                                                      fmt::join(expected.sizes(), ", "));
  const at::Tensor a = actual.detach().to(at::kDouble).reshape(-1), e = expected.detach().to(at::kDouble).reshape(-1);
  const at::Tensor difference = (a - e).abs();
  const double scale = std::max(e.abs().max().item<double>(), 1e-300), worst = difference.max().item<double>();
  if (worst <= tolerance * scale) return testing::AssertionSuccess();  // false for NaN
  const int64_t place = difference.argmax().item<int64_t>();
  return testing::AssertionFailure() << fmt::format(
             "{}: error {:.3e} of the largest value {:.3e}, allowed {:.1e}; element {}: {:.17g} instead of {:.17g}", what, worst / scale,
             scale, tolerance, place, a[place].item<double>(), e[place].item<double>());
}

}  // namespace dinoxx::golden
