#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/rng.hpp"
#include "eval/features/lanes.hpp"
#include "linear_probe.hpp"

namespace dinoxx::eval {

namespace {

constexpr int64_t kPasses = 100, kFewest = 500, kMost = 12500;
constexpr double kInitialDeviation = 0.01;

}  // namespace

std::vector<HeadInput> head_inputs(int64_t dim, int blocks) {
  const int n = std::min(blocks, kProbeBlocks);
  std::vector<HeadInput> inputs;
  for (const int used : n == 1 ? std::vector<int>{1} : std::vector<int>{1, n})
    for (const bool average : {false, true}) inputs.push_back({used, average, (n - used) * dim, (used + (average ? 1 : 0)) * dim});
  return inputs;
}

HeadGroup::HeadGroup(const HeadInput& input, std::vector<double> rates, at::Tensor weight, at::Tensor bias)
    : input_(input), rates_(weight.size(0)), classes_(weight.size(1)) {
  weight_ = weight.reshape({rates_ * classes_, input.width}).clone();
  bias_ = bias.reshape({-1}).clone();
  weight_momentum_ = at::zeros_like(weight_);
  bias_momentum_ = at::zeros_like(bias_);
  rate_ = at::tensor(rates, at::kDouble).repeat_interleave(classes_).to(weight_.scalar_type());
}

void HeadGroup::step(const at::Tensor& features, const at::Tensor& index, const at::Tensor& labels, double decay) {
  const at::Tensor x = features.narrow(1, input_.begin, input_.width).index_select(0, index);
  const int64_t batch = x.size(0);
  // the gradient of the summed mean cross-entropies by the logits: (softmax - one-hot) / B, for each head
  at::Tensor slope = at::softmax(at::addmm(bias_, x, weight_.t()).view({batch, rates_, classes_}), -1);
  const at::Tensor own = labels.view({batch, 1, 1}).expand({batch, rates_, 1});
  slope.scatter_add_(2, own, at::full({1, 1, 1}, -1.0, slope.options()).expand({batch, rates_, 1}));
  slope = slope.div_(static_cast<double>(batch)).view({batch, rates_ * classes_});
  weight_momentum_.addmm_(slope.t(), x, kProbeMomentum);
  bias_momentum_.mul_(kProbeMomentum).add_(slope.sum(0));
  weight_.addcmul_(weight_momentum_, rate_.unsqueeze(1), -decay);
  bias_.addcmul_(bias_momentum_, rate_, -decay);
}

at::Tensor HeadGroup::logits(const at::Tensor& features) const {
  return at::addmm(bias_, features.narrow(1, input_.begin, input_.width), weight_.t()).view({features.size(0), rates_, classes_});
}

HeadGroup fresh_heads(const HeadInput& input, std::span<const double> rates, int64_t classes, uint64_t seed, int64_t first_head) {
  const auto heads = static_cast<int64_t>(rates.size());
  const at::Tensor weight = at::empty({heads, classes, input.width}, at::kFloat);
  float* out = weight.data_ptr<float>();
  for (int64_t head = 0; head < heads; ++head)
    for (int64_t c = 0; c < classes; ++c) {
      CounterRng rng(seed, static_cast<uint64_t>(c), lane(Lane::kLinearProbe, static_cast<uint64_t>(first_head + head)), Purpose::kEval);
      for (int64_t i = 0; i < input.width; ++i) *out++ = static_cast<float>(kInitialDeviation * rng.normal());
    }
  return {input, {rates.begin(), rates.end()}, weight, at::zeros({heads, classes}, at::kFloat)};
}

int64_t probe_iterations(int64_t images) {
  return std::clamp((kPasses * images + kProbeBatch - 1) / kProbeBatch, kFewest, kMost);
}

double probe_decay(int64_t t, int64_t iterations) {
  return 0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(t) / static_cast<double>(iterations)));
}

}  // namespace dinoxx::eval
