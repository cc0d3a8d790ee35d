#pragma once
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "comm/named_tensor.hpp"
#include "formats/safetensors.hpp"

/// Golden tests: fixtures that a PyTorch script in tests/golden wrote, and the values that both sides compute (golden_common.py has the
/// definitions).
namespace dinoxx::golden {

/// tests/golden/data/<name>.safetensors.
class Fixture {
 public:
  explicit Fixture(const std::string& name);
  at::Tensor tensor(const std::string& name) const;
  bool has(const std::string& name) const { return file_.tensors().contains(name); }
  std::vector<std::string> names() const;  ///< of all tensors, a digest's with its "#digest"
  const std::map<std::string, std::string>& metadata() const { return file_.metadata(); }

  /// Compares `actual` with the stored tensor `name`, or with its digest (norm, product with uniform(name), samples) when it was too large
  /// to store. The error is the largest absolute difference over the largest absolute expected value.
  testing::AssertionResult matches(const std::string& name, const at::Tensor& actual, double tolerance) const;

 private:
  SafetensorsFile file_;
};

/// Uniform numbers in [-1, 1), a function of (name, index): float64.
at::Tensor uniform(const std::string& name, at::IntArrayRef shape);
/// Gives every parameter its golden value by its name. Names that end with `keep` get 1 (a frozen gain).
void fill_parameters(const NamedTensors& parameters, const std::string& keep = "");

/// Largest absolute difference over the largest absolute expected value, with the place in the message. Shapes must agree; NaN never
/// matches.
testing::AssertionResult near(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, double tolerance);

}  // namespace dinoxx::golden
