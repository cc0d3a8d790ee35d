#include "resnet.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "base/stop_scope.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {

at::Tensor ResNet::convolve(const Conv& conv, const at::Tensor& x) const {
  return at::conv2d(x, conv.weight, {}, conv.stride, conv.padding);
}

std::vector<at::Tensor> ResNet::run(const at::Tensor& images, bool training) const {
  if (images.dim() != 4 || images.size(0) < 1 || images.size(1) != config_.channels)
    fail("ResNet input", fmt::format("images [B, {}, H, W]", config_.channels), fmt::format("{}", fmt::join(images.sizes(), " x ")),
         "Check the number of channels of the data and of the model");
  if (images.size(2) < stride() || images.size(3) < stride())
    fail("ResNet input", fmt::format("sides of {} pixels or more", stride()), fmt::format("{} x {} pixels", images.size(2), images.size(3)),
         config_.small_image_stem ? "Use larger crops" : "Use larger crops, or the stem for small images");

  at::Tensor x = images.to(dtype_).contiguous(at::MemoryFormat::ChannelsLast);
  const auto norm = [&](const Conv& conv) -> const BatchNorm& { return norms_[conv.norm]; };
  x = norm(stem_).forward_relu(convolve(stem_, x), training);
  if (!config_.small_image_stem) x = at::max_pool2d(x, 3, 2, 1);
  std::vector<at::Tensor> outputs;
  for (const std::vector<Block>& stage : stages_) {
    for (const Block& block : stage) {
      StopScope::check();  // a forward of many images may take minutes
      at::Tensor y = x;
      for (size_t i = 0; i + 1 < block.branch.size(); ++i) y = norm(block.branch[i]).forward_relu(convolve(block.branch[i], y), training);
      at::Tensor shortcut = x;
      for (const Conv& conv : block.shortcut) shortcut = norm(conv).forward(convolve(conv, x), training);
      x = norm(block.branch.back()).forward_relu(convolve(block.branch.back(), y), training, shortcut);
    }
    outputs.push_back(x);
  }
  return outputs;
}

at::Tensor ResNet::forward(const at::Tensor& images, const RowOrigin* origin) const {
  return run(images, origin != nullptr).back().mean({2, 3});
}

ConvFeatures ResNet::forward_features(const at::Tensor& images, const RowOrigin* origin) const {
  ConvFeatures out;
  out.stages = run(images, origin != nullptr);
  const at::Tensor& last = out.stages.back();
  out.cls = last.mean({2, 3});
  out.patches = last.flatten(2).transpose(1, 2);
  out.registers = out.cls.new_empty({last.size(0), 0, last.size(1)});
  return out;
}

void ResNet::set_statistics_group(const std::shared_ptr<Communicator>& group) {
  for (BatchNorm& norm : norms_) norm.set_group(group);
}

void ResNet::commit_statistics() {
  for (BatchNorm& norm : norms_) norm.commit_statistics();
}

void ResNet::discard_statistics() {
  for (BatchNorm& norm : norms_) norm.discard_statistics();
}

}  // namespace dinoxx
