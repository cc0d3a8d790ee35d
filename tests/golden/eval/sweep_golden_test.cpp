// The heads of the sweep against the published algorithm by torch's own modules, optimiser and schedule (make_sweep.py).
#include <ATen/ATen.h>

#include "eval/protocols/linear_probe.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

using golden::uniform;

constexpr int64_t kDim = 5, kBlocks = 4, kClasses = 3, kImages = 29, kSteps = 7;

// CLS of the last blocks, then the mean of the last one's patches.
at::Tensor features() {
  std::vector<at::Tensor> columns;
  for (int64_t b = 0; b < kBlocks; ++b) columns.push_back(4 * uniform("sweep/cls" + std::to_string(b), {kImages, kDim}));
  columns.push_back((4 * uniform("sweep/patches" + std::to_string(kBlocks - 1), {kImages, 6, kDim})).mean(1));
  return at::cat(columns, 1);
}

std::string name_of(const HeadInput& input, int64_t place) {
  return fmt::format("{}_{}_{}", input.blocks, input.average ? 1 : 0, place);
}

TEST(SweepGolden, AllHeadsHaveTheWeightsOfThePublishedAlgorithm) {
  const golden::Fixture fixture("sweep");
  const auto heads = static_cast<int64_t>(kProbeRates.size());
  std::vector<double> rates;
  for (const double rate : kProbeRates) rates.push_back(rate * static_cast<double>(kProbeBatch) / 256);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < kImages; ++i) labels.push_back((i * i + i / 3) % kClasses);
  const at::Tensor x = features(), y = at::tensor(labels, at::kLong);
  const std::vector<HeadInput> inputs = head_inputs(kDim, 12);  // of a network with twelve blocks the last four are seen
  ASSERT_EQ(inputs.size(), 4U);
  for (const HeadInput& input : inputs) {
    std::vector<at::Tensor> weights, biases;
    for (int64_t place = 0; place < heads; ++place) {
      weights.push_back(uniform("sweep/weight_" + name_of(input, place), {kClasses, input.width}));
      biases.push_back(uniform("sweep/bias_" + name_of(input, place), {kClasses}));
    }
    HeadGroup group(input, rates, at::stack(weights), at::stack(biases));
    for (int64_t t = 0; t < kSteps; ++t) {
      const at::Tensor rows = at::arange(kProbeBatch, at::kLong).mul(7).add(31 * t).remainder(kImages);
      group.step(x, rows, y.index_select(0, rows), probe_decay(t, kSteps));
    }
    for (int64_t place = 0; place < heads; ++place) {
      EXPECT_TRUE(fixture.matches("weight_" + name_of(input, place), group.weight()[place], 1e-9)) << name_of(input, place);
      EXPECT_GT((group.weight()[place] - weights[place]).abs().max().item<double>(), 1e-6) << "not trained";
    }
    EXPECT_TRUE(fixture.matches(fmt::format("bias_{}_{}", input.blocks, input.average ? 1 : 0), group.bias(), 1e-9));
  }
}

}  // namespace
}  // namespace dinoxx::eval
