#pragma once
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <functional>

#include "comm/named_tensor.hpp"

namespace dinoxx::testing_support {

/// x -> tanh(x W_i + b_i), layer by layer; the loss is a mean over the batch. Starts the same on every rank unless `salt` differs.
struct ToyNetwork {
  explicit ToyNetwork(int layers, int64_t width, at::ScalarType type = at::kDouble, int salt = 0) {
    for (int i = 0; i < layers; ++i) {
      const at::Tensor grid = at::arange(width * width, at::kDouble).view({width, width});
      parameters.push_back(
          {fmt::format("layers.{}.weight", i), (at::sin(grid * 0.37 + i + salt) / std::sqrt(static_cast<double>(width))).to(type)});
      parameters.push_back({fmt::format("layers.{}.bias", i), (at::cos(at::arange(width, at::kDouble) + i + salt) * 0.1).to(type)});
    }
  }
  /// before_layer(i, x) may replace the input of layer i.
  at::Tensor loss(const at::Tensor& input, const std::function<at::Tensor(int, const at::Tensor&)>& before_layer = {}) const {
    at::Tensor x = input;
    const int layers = static_cast<int>(parameters.size() / 2);
    for (int i = 0; i < layers; ++i) {
      if (before_layer) x = before_layer(i, x);
      x = at::tanh(at::matmul(x, parameters[2 * i].tensor) + parameters[2 * i + 1].tensor);
    }
    return (x * x).sum(1).mean() + x.mean();
  }
  NamedTensors parameters;
};

/// Rows [first, first + count) of an endless batch.
inline at::Tensor toy_batch(int64_t first, int64_t count, int64_t width, at::ScalarType type = at::kDouble) {
  return at::sin(at::arange(first * width, (first + count) * width, at::kDouble) * 1.3).view({count, width}).to(type);
}

}  // namespace dinoxx::testing_support
