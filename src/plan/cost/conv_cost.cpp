// ResNet and ConvNeXt: each convolution as the product of its matrix, and the tensors that norms and activations keep.
#include "cost.hpp"
#include "model/backbones/convnext.hpp"
#include "model/backbones/resnet.hpp"

namespace dinoxx::plan {
namespace {

class ConvCost {
 public:
  ConvCost(double images, double element, bool trains) : images_(images), c_(element), trains_(trains) {}
  Cost cost;

  int64_t conv(int64_t side, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding, double kept, bool first = false) {
    const int64_t to = (side + 2 * padding - kernel) / stride + 1;
    const double places = images_ * static_cast<double>(to * to), values = places * static_cast<double>(out);
    add_linear(cost, places, static_cast<double>(in * kernel * kernel), static_cast<double>(out), trains_, !first);
    pass(values, kept);
    return to;
  }
  void depthwise(double values, double kernel) {
    cost.traffic += 3 * c_ * values * (trains_ ? 3 : 1);
    cost.products.push_back({values, 1, kernel * kernel, trains_ ? 3.0 : 1.0});
    pass(values, 1);
  }
  void linear(double places, double in, double out, double kept) {
    add_linear(cost, places, in, out, trains_);
    pass(places * out, kept);
  }
  /// A tensor of so many values of which `kept` copies stay for the backward pass.
  void pass(double values, double kept) {
    cost.traffic += c_ * values * (trains_ ? 12 : 5);
    cost.launches += trains_ ? 12 : 5;
    if (trains_) cost.saved += c_ * values * kept;
    cost.forward = std::max(cost.forward, 3 * c_ * values);
    if (trains_) cost.backward = 3 * c_ * values;  // of the last one, with which the backward pass begins
  }
  void indices(double values) {
    if (trains_) cost.saved += 8 * values;
  }
  double images() const { return images_; }

 private:
  double images_, c_;
  bool trains_;
};

// Kept of a convolution with its norm: its own output for the norm and, where an activation follows, what that gives.
void resnet(const ResNetConfig& net, int64_t side, ConvCost& cost) {
  int64_t in = net.width;
  if (net.small_image_stem) {
    side = cost.conv(side, net.channels, net.width, 3, 1, net.stem_padding, 2, true);
  } else {
    side = cost.conv(side, net.channels, net.width, 7, 2, 3, 2, true);
    side = (side + 2 - 3) / 2 + 1;
    const double values = cost.images() * static_cast<double>(side * side * net.width);
    cost.pass(values, 1);
    cost.indices(values);
  }
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t width = static_cast<int64_t>(net.width) << stage, out = net.bottleneck ? 4 * width : width;
    for (int block = 0; block < net.depths[static_cast<size_t>(stage)]; ++block) {
      const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      if (stride != 1 || in != out) cost.conv(side, in, out, 1, stride, 0, 1);
      if (net.bottleneck) {
        cost.conv(side, in, width, 1, 1, 0, 2);
        side = cost.conv(side, width, width, 3, stride, 1, 2);
        cost.conv(side, width, out, 1, 1, 0, 2);
      } else {
        side = cost.conv(side, in, width, 3, stride, 1, 2);
        cost.conv(side, width, out, 3, 1, 1, 2);
      }
      in = out;
    }
  }
}

void convnext(const ConvNextConfig& net, int64_t side, ConvCost& cost) {
  int64_t in = net.channels;
  for (size_t stage = 0; stage < 4; ++stage) {
    const int64_t dim = net.dims[stage], step = stage == 0 ? 4 : 2;
    side = cost.conv(side, in, dim, step, step, 0, 2, stage == 0);
    const double places = cost.images() * static_cast<double>(side * side), wide = static_cast<double>(dim);
    for (int block = 0; block < net.depths[stage]; ++block) {
      cost.depthwise(places * wide, 7);
      cost.pass(places * wide, 1);
      cost.linear(places, wide, 4 * wide, 2);
      cost.linear(places, 4 * wide, wide, 2);
    }
    in = dim;
  }
}

}  // namespace

Cost conv_cost(const BackboneConfig& backbone, const std::vector<CropGroup>& crops, int64_t batch, int64_t element, const Pass& pass) {
  Cost all;
  for (const CropGroup& group : crops) {
    ConvCost cost(static_cast<double>(group.views * batch), static_cast<double>(element), pass.trains);
    if (const auto* net = std::get_if<ResNetConfig>(&backbone))
      resnet(*net, group.size, cost);
    else
      convnext(std::get<ConvNextConfig>(backbone), group.size, cost);
    all += cost.cost;
  }
  return all;
}

}  // namespace dinoxx::plan
