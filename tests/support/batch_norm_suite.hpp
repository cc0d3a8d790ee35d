#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>

#include "dinoxx/comm/communicator.hpp"
#include "model/backbones/resnet.hpp"
#include "model/layers/row_origin.hpp"
#include "named_values.hpp"

/// Batch statistics over ranks, for every back end: N ranks with parts of a batch are one rank with the whole of it. What one rank has to
/// give is computed on the CPU by ATen's own batch normalisation, or by a network without a group; the ranks compute on `device`.
namespace dinoxx::golden {

/// The rows of this rank, when rank r holds r + 1 parts of the batch and the last rank the rest.
struct RankRows {
  int64_t begin = 0, count = 0;
  RankRows(const Communicator& comm, int64_t batch, int64_t part) {
    const int64_t rank = comm.rank();
    begin = part * rank * (rank + 1) / 2;
    count = rank + 1 == comm.size() ? batch - begin : part * (rank + 1);
  }
  at::Tensor of(const at::Tensor& whole) const { return whole.narrow(0, begin, count); }
};

/// As a network goes to a device: the handles stay, their values move.
inline void move(const NamedTensors& tensors, at::Device device) {
  for (const auto& [name, tensor] : tensors) tensor.set_data(tensor.to(device));
}

inline at::Tensor summed(Communicator& comm, const at::Tensor& mine) {
  at::Tensor sum = mine.detach().clone();
  comm.all_reduce(sum, ReduceOp::kSum)->wait();
  return sum.cpu();
}

inline void check_layer_over_ranks(const std::shared_ptr<Communicator>& comm, at::Device device, at::ScalarType dtype, bool images,
                                   double tolerance) {
  constexpr int64_t kBatch = 17, kChannels = 6;
  const std::vector<int64_t> shape = images ? std::vector<int64_t>{kBatch, kChannels, 5, 3} : std::vector<int64_t>{kBatch, kChannels};
  const RankRows rows(*comm, kBatch, 2);
  NamedTensors parameters, buffers;
  BatchNorm norm(kChannels, dtype);
  norm.append_to("bn.", parameters, buffers);
  fill_named(parameters);
  fill_named(buffers);
  norm.set_group(comm);
  const auto leaf = [](const at::Tensor& t) { return t.detach().clone().set_requires_grad(true); };
  const at::Tensor weight = leaf(parameters[0].tensor), bias = leaf(parameters[1].tensor);  // of the reference
  const at::Tensor mean = buffers[0].tensor.clone(), variance = buffers[1].tensor.clone();
  move(parameters, device);
  move(buffers, device);
  for (const NamedTensor& parameter : parameters) parameter.tensor.set_requires_grad(true);

  for (const char* step : {"first", "second"}) {
    SCOPED_TRACE(step);
    // a mean far from zero and ranks that differ: what sums of squares would lose
    std::vector<int64_t> column(shape.size(), 1);
    column[0] = kBatch;
    const at::Tensor offset = at::arange(kBatch, at::kDouble).mul_(0.1).add_(3.0).view(column);
    const at::Tensor values = (uniform(std::string("bn/x/") + step, shape) + offset).to(dtype);
    const at::Tensor direction = uniform(std::string("bn/direction/") + step, shape).to(dtype);
    const at::Tensor whole = leaf(values), mine = leaf(rows.of(values).to(device));

    const at::Tensor expected = at::batch_norm(whole, weight, bias, mean, variance, true, 0.1, 1e-5, false);
    (expected * direction).sum().backward();
    const at::Tensor y = norm.forward(mine, true);
    (y * rows.of(direction).to(device)).sum().backward();

    EXPECT_TRUE(near("output", y.cpu(), rows.of(expected), tolerance));
    EXPECT_TRUE(near("gradient of the input", mine.grad().cpu(), rows.of(whole.grad()), tolerance));
  }
  EXPECT_TRUE(near("gradient of the gain", summed(*comm, parameters[0].tensor.grad()), weight.grad(), tolerance));
  EXPECT_TRUE(near("gradient of the bias", summed(*comm, parameters[1].tensor.grad()), bias.grad(), tolerance));
  norm.commit_statistics();
  EXPECT_TRUE(near("running mean", buffers[0].tensor.cpu(), mean, tolerance));
  EXPECT_TRUE(near("running variance", buffers[1].tensor.cpu(), variance, tolerance));
  EXPECT_EQ(buffers[2].tensor.item<int64_t>(), 5);  // 3 by its name, and two steps
}

inline void check_network_over_ranks(const std::shared_ptr<Communicator>& comm, at::Device device, double tolerance) {
  constexpr int64_t kBatch = 9;
  ResNetConfig config = resnet_config("resnet18");
  config.width = 8;
  config.small_image_stem = true;
  const auto make = [&](const std::shared_ptr<Communicator>& group, at::Device where) {
    ResNet network(config, at::kDouble);
    fill_named(network.parameters());
    fill_named(network.buffers());
    move(network.parameters(), where);
    move(network.buffers(), where);
    network.set_statistics_group(group);
    for (const NamedTensor& parameter : network.parameters()) parameter.tensor.set_requires_grad(true);
    return network;
  };
  const RankRows rows(*comm, kBatch, 1);
  const RowOrigin training;
  const at::Tensor images = uniform("bn/images", {kBatch, 3, 16, 16});
  ResNet alone = make(nullptr, at::kCPU), together = make(comm, device);
  const at::Tensor expected = alone.forward(images, &training), features = together.forward(rows.of(images).to(device), &training);
  const at::Tensor direction = uniform("bn/features", expected.sizes());
  (expected * direction).sum().backward();
  (features * rows.of(direction).to(device)).sum().backward();
  alone.commit_statistics();
  together.commit_statistics();

  EXPECT_TRUE(near("features", features.cpu(), rows.of(expected), tolerance));
  for (size_t i = 0; i < alone.parameters().size(); ++i) {
    const at::Tensor sum = summed(*comm, together.parameters()[i].tensor.grad());
    EXPECT_TRUE(near("gradient of " + alone.parameters()[i].name, sum, alone.parameters()[i].tensor.grad(), tolerance));
  }
  for (size_t i = 0; i < alone.buffers().size(); ++i)
    EXPECT_TRUE(near(alone.buffers()[i].name, together.buffers()[i].tensor.cpu(), alone.buffers()[i].tensor, tolerance));
}

/// Statistics of every rank of `comm`, a back end for tensors on `device`: a layer in float64 to 1e-12 and in float32 to 1e-5, a network in
/// float64 to 1e-12 (on a GPU 1e-10: its convolutions are another library's, and the small differences pass through 20 norms).
inline void check_batch_norm_over_ranks(const std::shared_ptr<Communicator>& comm, at::Device device) {
  check_layer_over_ranks(comm, device, at::kDouble, true, 1e-12);
  check_layer_over_ranks(comm, device, at::kDouble, false, 1e-12);
  check_layer_over_ranks(comm, device, at::kFloat, true, 1e-5);
  check_network_over_ranks(comm, device, device.is_cpu() ? 1e-12 : 1e-10);
}

}  // namespace dinoxx::golden
