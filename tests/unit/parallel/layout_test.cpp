#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "parallel/gradient_sync.hpp"
#include "toy_network.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using namespace testing_support;

NamedTensors example(at::ScalarType type = at::kFloat) {
  NamedTensors parameters;
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    parameters.push_back(
        {name, (at::arange(1, c10::multiply_integers(shape) + 1, at::kDouble) * 0.01 + parameters.size()).view(shape).to(type)});
  };
  add("backbone.cls_token", {1, 1, 12});
  add("backbone.pos_embed", {1, 5, 12});
  add("backbone.patch_embed.proj.weight", {12, 3, 2, 2});
  add("backbone.patch_embed.proj.bias", {12});
  add("backbone.norm.weight", {12});
  add("backbone.norm.bias", {12});
  add("head.mlp.0.weight", {200, 120});
  add("head.mlp.0.bias", {200});
  add("head.last_layer.weight_g", {40, 1});
  add("head.last_layer.weight_v", {40, 200});
  return parameters;
}

const Segment& segment(const ParamLayout& layout, const std::string& name) {
  for (const Segment& s : layout.segments) {
    if (s.name == name) return s;
  }
  throw Error("no segment " + name);
}

TEST(ParamLayout, LiesInReverseOrderOfExecutionAlignedAndWithoutOverlap) {
  const NamedTensors parameters = example();
  const ParamLayout layout = ParamLayout::build(parameters, 20000);
  ASSERT_EQ(layout.segments.size(), parameters.size());
  int64_t end = 0;
  for (size_t i = 0; i < layout.segments.size(); ++i) {
    const Segment& s = layout.segments[i];
    EXPECT_EQ(s.name, parameters[parameters.size() - 1 - i].name);
    EXPECT_EQ(s.offset % kSegmentAlignment, 0);
    EXPECT_GE(s.offset, end);
    EXPECT_EQ(s.numel, parameters[parameters.size() - 1 - i].tensor.numel());
    end = s.offset + s.numel;
  }
  EXPECT_GE(layout.numel, end);
}

TEST(ParamLayout, BucketsCoverEverythingAndAreCutEqually) {
  const ParamLayout layout = ParamLayout::build(example(), 20000);
  ASSERT_GE(layout.buckets.size(), 3u);
  int64_t begin = 0;
  int first = 0;
  for (const Bucket& bucket : layout.buckets) {
    EXPECT_EQ(bucket.begin, begin);
    EXPECT_EQ(bucket.first_segment, first);
    ASSERT_GT(bucket.last_segment, bucket.first_segment);
    for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32, 48, 64})
      EXPECT_EQ((bucket.end - bucket.begin) % ranks, 0) << ranks;
    for (int s = bucket.first_segment; s < bucket.last_segment; ++s) {
      EXPECT_GE(layout.segments[s].offset, bucket.begin);
      EXPECT_LE(layout.segments[s].offset + layout.segments[s].numel, bucket.end);
    }
    begin = bucket.end;
    first = bucket.last_segment;
  }
  EXPECT_EQ(begin, layout.numel);
  EXPECT_EQ(first, static_cast<int>(layout.segments.size()));
}

TEST(ParamLayout, GroupsAreThoseOfDino) {
  const ParamLayout layout = ParamLayout::build(example());
  for (const char* name : {"backbone.patch_embed.proj.bias", "backbone.norm.weight", "backbone.norm.bias", "head.mlp.0.bias"}) {
    EXPECT_FALSE(segment(layout, name).decay) << name;
  }
  for (const char* name :
       {"backbone.cls_token", "backbone.pos_embed", "backbone.patch_embed.proj.weight", "head.mlp.0.weight", "head.last_layer.weight_v"}) {
    EXPECT_TRUE(segment(layout, name).decay) << name;
  }
  EXPECT_TRUE(segment(layout, "head.last_layer.weight_v").last_layer);
  EXPECT_FALSE(segment(layout, "head.mlp.0.weight").last_layer);
  EXPECT_FALSE(segment(layout, "head.last_layer.weight_g").trainable);
  EXPECT_TRUE(segment(ParamLayout::build(example(), 4 << 20, false), "head.last_layer.weight_g").trainable);
  EXPECT_TRUE(segment(layout, "head.last_layer.weight_v").trainable);
}

TEST(ParamLayout, HashSeesNamesShapesAndOffsets) {
  const ParamLayout layout = ParamLayout::build(example());
  EXPECT_EQ(layout.hash, ParamLayout::build(example(at::kDouble)).hash);
  NamedTensors renamed = example(), reshaped = example();
  renamed[3].name += "x";
  reshaped[6].tensor = reshaped[6].tensor.view({120, 200});
  EXPECT_NE(layout.hash, ParamLayout::build(renamed).hash);
  EXPECT_NE(layout.hash, ParamLayout::build(reshaped).hash);
  EXPECT_NE(layout.hash, ParamLayout::build(example(), 20000).hash);
}

TEST(ParamLayout, RefusesNoParameterAndNamesTwice) {
  EXPECT_THROW(ParamLayout::build({}), Error);
  NamedTensors twice = example();
  twice[1].name = twice[0].name;
  EXPECT_THAT([&] { ParamLayout::build(twice); }, ThrowsMessage<Error>(HasSubstr("backbone.cls_token")));
}

TEST(FlatState, ParametersBecomeViewsAndKeepTheirValues) {
  NamedTensors parameters = example(at::kDouble);
  const NamedTensors copies_of_handles = parameters;
  std::vector<at::Tensor> values;
  for (const NamedTensor& p : parameters) values.push_back(p.tensor.clone());
  const ParamLayout layout = ParamLayout::build(parameters, 20000);
  FlatState state(layout, parameters, true, at::kDouble);
  EXPECT_TRUE(state.compute.is_same(state.master));
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_TRUE(at::equal(copies_of_handles[i].tensor, values[i])) << parameters[i].name;
    EXPECT_EQ(copies_of_handles[i].tensor.data_ptr<double>(), state.master.data_ptr<double>() + segment(layout, parameters[i].name).offset);
    EXPECT_EQ(copies_of_handles[i].tensor.requires_grad(), segment(layout, parameters[i].name).trainable);
  }
  state.master.add_(1);
  EXPECT_TRUE(at::equal(parameters[4].tensor, values[4] + 1));
}

TEST(FlatState, PaddingIsZero) {
  NamedTensors parameters = example();
  const ParamLayout layout = ParamLayout::build(parameters, 20000);
  FlatState state(layout, parameters, true);
  double inside = 0;
  for (const NamedTensor& p : parameters) inside += p.tensor.detach().to(at::kDouble).abs().sum().item<double>();
  EXPECT_NEAR(state.master.to(at::kDouble).abs().sum().item<double>(), inside, 1e-9 * inside);
  EXPECT_EQ(state.grad.abs().sum().item<float>(), 0);
}

TEST(FlatState, BackwardAddsInPlaceWhateverTheComputeType) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    ToyNetwork network(3, 8, type);
    const ParamLayout layout = ParamLayout::build(network.parameters);
    FlatState state(layout, network.parameters, true);
    const void* before = network.parameters[0].tensor.grad().data_ptr();
    network.loss(toy_batch(0, 4, 8, type)).backward();
    const at::Tensor once = state.grad.clone();
    network.loss(toy_batch(0, 4, 8, type)).backward();
    EXPECT_EQ(network.parameters[0].tensor.grad().data_ptr(), before);
    EXPECT_EQ(network.parameters[0].tensor.grad().scalar_type(), at::kFloat);
    EXPECT_GT(once.abs().sum().item<float>(), 0);
    EXPECT_TRUE(at::equal(state.grad, once * 2)) << c10::toString(type);
    state.zero_grad();
    EXPECT_EQ(network.parameters[0].tensor.grad().abs().sum().item<float>(), 0);
  }
}

TEST(FlatState, Bf16CopyFollowsTheMasters) {
  ToyNetwork network(2, 8, at::kFloat);
  const at::Tensor exact = network.parameters[0].tensor.clone();
  const ParamLayout layout = ParamLayout::build(network.parameters);
  FlatState state(layout, network.parameters, false, at::kFloat, at::kBFloat16);
  EXPECT_EQ(network.parameters[0].tensor.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(network.parameters[0].tensor, exact.to(at::kBFloat16)));
  const Segment& s = segment(layout, "layers.0.weight");
  EXPECT_TRUE(at::equal(state.master.narrow(0, s.offset, s.numel).view({8, 8}), exact));  // not rounded
  state.master.mul_(3);
  EXPECT_TRUE(at::equal(network.parameters[0].tensor, exact.to(at::kBFloat16)));
  state.publish();
  EXPECT_TRUE(at::equal(network.parameters[0].tensor, (exact * 3).to(at::kBFloat16)));
  EXPECT_FALSE(network.parameters[0].tensor.requires_grad());
  EXPECT_FALSE(state.grad.defined());
}

TEST(FlatState, RefusesAnotherNetwork) {
  const ParamLayout layout = ParamLayout::build(example());
  NamedTensors reshaped = example(), renamed = example(), shorter = example();
  reshaped[6].tensor = at::zeros({200, 121});
  renamed[0].name = "other";
  shorter.pop_back();
  EXPECT_THAT([&] { FlatState(layout, reshaped, true); }, ThrowsMessage<Error>(HasSubstr("head.mlp.0.weight: expected shape [200, 120]")));
  EXPECT_THAT([&] { FlatState(layout, renamed, true); }, ThrowsMessage<Error>(HasSubstr("backbone.cls_token")));
  EXPECT_THROW(FlatState(layout, shorter, true), Error);
}

TEST(GradientSync, FindsDroppedViews) {
  ToyNetwork network(2, 8, at::kFloat);
  const ParamLayout layout = ParamLayout::build(network.parameters);
  FlatState state(layout, network.parameters, true);
  GradientSync sync(make_self_communicator(), layout, network.parameters, state);
  sync.begin();
  network.loss(toy_batch(0, 2, 8, at::kFloat)).backward();
  sync.finish();
  network.parameters[1].tensor.mutable_grad() = at::Tensor();  // as an optimizer's zero_grad() does
  sync.begin();
  network.loss(toy_batch(0, 2, 8, at::kFloat)).backward();
  EXPECT_THAT([&] { sync.finish(); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("layers.0.bias"), HasSubstr("FlatState::zero_grad()"))));
}

TEST(GradientSync, IgnoresBackwardOutsideAStepAndTakesItsHooksAway) {
  ToyNetwork network(2, 8, at::kFloat);
  const ParamLayout layout = ParamLayout::build(network.parameters);
  FlatState state(layout, network.parameters, true);
  {
    GradientSync sync(make_self_communicator(), layout, network.parameters, state);
    network.loss(toy_batch(0, 2, 8, at::kFloat)).backward();
    EXPECT_TRUE(sync.events().empty());
    EXPECT_THAT([&] { sync.finish(); }, ThrowsMessage<Error>(HasSubstr("begin()")));
    sync.begin();
  }
  network.loss(toy_batch(0, 2, 8, at::kFloat)).backward();  // would touch the dead object
  EXPECT_GT(state.grad.abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace dinoxx
