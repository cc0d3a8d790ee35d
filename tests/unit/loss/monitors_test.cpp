// What the monitors say of outputs that have collapsed, and of ones that have not.
#include "loss/monitors.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "dinoxx/base/error.hpp"
#include "golden.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

using golden::uniform;
using testing::HasSubstr;

TEST(FeatureSpread, ConstantLineAndAllDirections) {
  const FeatureSpread constant = feature_spread(at::ones({8, 5}));
  EXPECT_NEAR(constant.deviation, 0.0, 1e-6);
  EXPECT_NEAR(constant.effective_rank, 1.0, 1e-4);
  EXPECT_EQ(feature_spread(at::zeros({8, 5})).effective_rank, 1.0);
  // the axes and their opposites: every direction alike
  const at::Tensor axes = at::cat({at::eye(6), -at::eye(6)});
  const FeatureSpread even = feature_spread(axes);
  EXPECT_NEAR(even.deviation, 1.0, 1e-6);
  EXPECT_NEAR(even.effective_rank, 6.0, 1e-4);
  // two directions in six dimensions
  EXPECT_NEAR(feature_spread(axes.narrow(0, 0, 2)).effective_rank, 2.0, 1e-4);
  at::Tensor broken = axes.clone();
  broken[3][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(feature_spread(broken).deviation));
  EXPECT_TRUE(std::isnan(feature_spread(broken).effective_rank));
  EXPECT_THROW(feature_spread(at::ones({1, 5})), Error);
}

TEST(PrototypeUsage, OneAllAndNone) {
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    const at::Tensor centre = at::zeros({20});
    at::Tensor one = at::zeros({2, 5, 20});
    one.select(2, 7).fill_(9.0);
    const PrototypeUsage collapsed = prototype_usage(one, centre, 0.1);
    EXPECT_NEAR(collapsed.used, 1.0 / 20, 1e-12);
    EXPECT_NEAR(collapsed.perplexity, 1.0, 1e-5);
    EXPECT_EQ(collapsed.rows, 10);
    const PrototypeUsage all = prototype_usage(at::eye(20) * 9.0, centre, 0.1);
    EXPECT_NEAR(all.used, 1.0, 1e-12);
    EXPECT_NEAR(all.perplexity, 20.0, 1e-4);
    const PrototypeUsage none = prototype_usage(at::zeros({0, 20}), centre, 0.1);
    EXPECT_EQ(none.rows, 0);
    EXPECT_EQ(none.perplexity, 0.0);
    at::Tensor broken = at::zeros({3, 20});
    broken[1][2] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(prototype_usage(broken, centre, 0.1).perplexity));
  }
  ops::set_fused(true);
  EXPECT_THROW(prototype_usage(at::zeros({3, 20}), at::zeros({19}), 0.1), Error);
}

CollapseSigns healthy() {
  CollapseSigns signs;
  signs.teacher_entropy = 5.0;
  signs.kl = 0.8;
  signs.prototypes = 1024;
  signs.perplexity = 300.0;
  signs.deviation = 0.7;
  signs.effective_rank = 60.0;
  return signs;
}

TEST(CollapseAlarm, EachRuleOnItsOwn) {
  EXPECT_FALSE(collapse_alarm(healthy()));
  EXPECT_FALSE(collapse_alarm({})) << "nothing measured";
  const auto text = [](auto change) {
    CollapseSigns signs = healthy();
    change(signs);
    return collapse_alarm(signs).value_or("none");
  };
  EXPECT_THAT(text([](auto& s) { s.deviation = 0.009; }), HasSubstr("hardly differ"));
  EXPECT_THAT(text([](auto& s) { s.effective_rank = 1.04; }), HasSubstr("on one line"));
  EXPECT_THAT(text([](auto& s) { s.perplexity = 1.4; }), HasSubstr("one prototype"));
  EXPECT_THAT(text([](auto& s) { s.teacher_entropy = std::log(1024.0), s.kl = 1e-4; }), HasSubstr("uniform"));
  EXPECT_EQ(text([](auto& s) { s.teacher_entropy = std::log(1024.0); }), "none") << "an untrained head: even, but not equal";
  EXPECT_EQ(text([](auto& s) { s.kl = 0.0; }), "none");
  EXPECT_THAT(text([](auto& s) { s.deviation = 0.0, s.perplexity = 1.0; }),
              testing::AllOf(HasSubstr("hardly"), HasSubstr("one prototype")));
}

// What DINOv2's network shows from its LayerScale of 1e-5 on, and what others show.
TEST(FirstSpread, GoesOnWhileDeviationsGrowThatHaveNeverBeenLarge) {
  const auto after = [](const std::vector<double>& deviations, double rank = 1.01) {
    FirstSpread spread;
    for (const double deviation : deviations) spread.look({.deviation = deviation, .effective_rank = rank});
    return spread.goes_on();
  };
  constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(after({})) << "nothing measured";
  EXPECT_TRUE(after({1e-7}));
  EXPECT_TRUE(after({7e-7, 2e-6, kNotMeasured, 2e-5, 6e-5}));
  EXPECT_FALSE(after({7e-7, 7e-7}));
  EXPECT_FALSE(after({2e-5, 7e-7}));
  std::vector<double> slow;  // a twentieth in ten looks, though more since the beginning
  for (int i = 0; i < 60; ++i) slow.push_back(1e-6 * std::pow(1.005, i));
  EXPECT_FALSE(after(slow));
  std::vector<double> dips{1e-6, 2e-6, 1.5e-6};  // from look to look it may fall
  EXPECT_TRUE(after(dips));
  // features that were apart once: from there on every sign counts
  EXPECT_FALSE(after({0.5, 1e-3, 2e-3, 4e-3}, 9));
  EXPECT_TRUE(after({0.5, 0.6}, 1.01)) << "on one line, they have not told images apart";
}

}  // namespace
}  // namespace dinoxx
