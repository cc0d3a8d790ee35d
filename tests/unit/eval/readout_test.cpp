// What is taken as an image's feature: stages of a network, cells of their maps, whitening.
#include "eval/readout/readout.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/classify/knn.hpp"
#include "eval/readout/whitening.hpp"
#include "model/backbones/last_stages.hpp"
#include "support/small_vit.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using testing::HasSubstr;

std::unique_ptr<Backbone> initialized(const BackboneConfig& config) {
  auto network = make_backbone(config, at::kFloat);
  network->initialize(3);
  return network;
}
ResNetConfig small_resnet() {
  ResNetConfig config;
  config.depths = {1, 1, 1, 1};
  config.width = 4;
  config.small_image_stem = true;
  return config;
}
ConvNextConfig small_convnext() {
  ConvNextConfig config;
  config.depths = {1, 1, 1, 1};
  config.dims = {8, 16, 24, 32};
  return config;
}
VitConfig three_blocks() {
  VitConfig config = small_vit_config(3);
  config.image_size = 32;
  config.patch_size = 8;
  return config;
}

// Features of which some directions are far wider than others, not around zero. [n, dim]
at::Tensor uneven_features(int64_t n, int64_t dim) {
  const at::Tensor numbers = at::arange(n * dim, at::kDouble).mul(0.7).add(at::arange(n * dim, at::kDouble).square().mul(1e-3)).sin();
  const at::Tensor mix = at::arange(dim * dim, at::kDouble).mul(1.3).cos().reshape({dim, dim});
  return (at::matmul(numbers.reshape({n, dim}) * at::linspace(0.01, 3, dim, at::kDouble), mix) + 2).to(at::kFloat);
}

TEST(Readout, TheLastStageIsWhatTheNetworkGives) {
  const at::NoGradGuard no_grad;
  const at::Tensor images = at::arange(2 * 3 * 64 * 64, at::kFloat).mul(0.37).sin().reshape({2, 3, 64, 64});
  for (const BackboneConfig& config : {BackboneConfig(small_resnet()), BackboneConfig(small_convnext()), BackboneConfig(three_blocks())}) {
    SCOPED_TRACE(describe(config));
    const auto network = initialized(config);
    const bool vit = std::holds_alternative<VitConfig>(config);
    EXPECT_EQ(offered_stages(*network), vit ? 3 : 4);
    const Features features = network->forward_features({images, nullptr, {}, false});
    const std::vector<StageMap> all = last_stages(*network, images, offered_stages(*network));
    const StageMap& last = all.back();
    EXPECT_TRUE(at::equal(last.map.flatten(2).transpose(1, 2), features.patches));
    EXPECT_EQ(last.cls.defined(), vit);
    if (vit) EXPECT_TRUE(at::equal(last.cls, features.cls));
    if (std::holds_alternative<ResNetConfig>(config)) EXPECT_LT((last.map.mean({2, 3}) - features.cls).abs().max().item<float>(), 1e-6);
    EXPECT_TRUE(at::equal(last_stages(*network, images, 2).front().map, all[all.size() - 2].map));
    EXPECT_THROW(last_stages(*network, images, offered_stages(*network) + 1), UsageError);
    EXPECT_THROW(last_stages(*network, images, 0), UsageError);
  }
}

TEST(Readout, ARowHasTheCellsOfEachStageEachPartOfLengthOne) {
  const at::NoGradGuard no_grad;
  const at::Tensor images = at::arange(2 * 3 * 32 * 32, at::kFloat).mul(0.37).sin().reshape({2, 3, 32, 32});
  const auto network = initialized(small_resnet());
  const Embedder embedder = read_stages(backbone_embedder("net", "", *network), {2, 2, std::nullopt}, 32);
  const at::Tensor rows = embedder.embed(images);
  ASSERT_EQ(embedder.dim, 4 * 16 + 4 * 32);
  ASSERT_EQ(rows.sizes(), (std::vector<int64_t>{2, embedder.dim}));
  const std::vector<StageMap> stages = last_stages(*network, images, 2);
  int64_t column = 0;
  for (const StageMap& stage : stages) {
    const int64_t width = stage.map.size(1), half = stage.map.size(2) / 2;
    const at::Tensor part = rows.narrow(1, column, 4 * width);
    EXPECT_LT((part.norm(2, 1) - 1).abs().max().item<float>(), 1e-5);
    // the third cell is below the first: row 1, column 0
    const at::Tensor cell = stage.map.slice(2, half, 2 * half).slice(3, 0, half).mean({2, 3}), found = part.narrow(1, 2 * width, width);
    EXPECT_LT((at::cosine_similarity(cell, found, 1) - 1).abs().max().item<float>(), 1e-5);
    column += 4 * width;
  }
  const auto vit = initialized(three_blocks());
  EXPECT_EQ(read_stages(backbone_embedder("net", "", *vit), {3, 2, std::nullopt}, 32).dim, 3 * (32 + 4 * 32));
  EXPECT_EQ(read_stages(backbone_embedder("net", "", *vit), {0, 1, 0.3}, 32).dim, 32);  // whitening alone
}

TEST(Readout, WhatCannotBeIsRefusedByName) {
  const auto network = initialized(small_resnet());
  const auto message = [&](const Readout& readout) -> std::string {
    try {
      check_readout(readout);
      read_stages(backbone_embedder("net", "", *network), readout, 32);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message({5, 1, std::nullopt}), testing::AllOf(HasSubstr("--feature-stages"), HasSubstr("at most 4")));
  EXPECT_THAT(message({-1, 1, std::nullopt}), HasSubstr("--feature-stages"));
  EXPECT_THAT(message({1, 5, std::nullopt}), testing::AllOf(HasSubstr("--feature-grid"), HasSubstr("4 x 4 positions")));
  EXPECT_THAT(message({0, 2, std::nullopt}), HasSubstr("Add --feature-stages 1"));
  EXPECT_THAT(message({1, 0, std::nullopt}), HasSubstr("--feature-grid"));
  for (const double share : {-0.1, 1.5, std::nan("")}) EXPECT_THAT(message({0, 1, share}), HasSubstr("--feature-whiten"));
  EXPECT_EQ(message({4, 4, 1.0}), "");
  const Embedder embedder = backbone_embedder("net", "", *network);
  EXPECT_EQ(read_stages(embedder, {4, 16, std::nullopt}, 128).dim, 60 * 256);
  EXPECT_THROW(read_stages(embedder, {4, 16, 0.3}, 128), UsageError) << "too wide to be whitened";
}

TEST(Readout, SurvivesTheJsonOfAFile) {
  for (const Readout& readout : {Readout{}, Readout{3, 2, 0.3}, Readout{1, 1, std::nullopt}, Readout{0, 1, 0.1}}) {
    const Readout back = readout_from_json(to_json(readout));
    EXPECT_EQ(back.stages, readout.stages);
    EXPECT_EQ(back.grid, readout.grid);
    EXPECT_EQ(back.whiten, readout.whiten);
  }
}

TEST(Whitening, IsTheInverseRootOfTheShrunkenCovariance) {
  const at::Tensor x = uneven_features(700, 200);
  const auto comm = make_self_communicator();
  for (const double share : {0.01, 0.3, 1.0}) {
    const Whitening whitening = fit_whitening(x, share, 1, *comm);
    const at::Tensor centred = x.to(at::kDouble) - x.to(at::kDouble).mean(0), covariance = at::matmul(centred.t(), centred) / 700.0;
    const double level = covariance.trace().item<double>() / 200;
    const at::Tensor target = covariance * (1 - share) + at::eye(200, at::kDouble) * (share * level);
    const at::Tensor matrix = whitening.matrix.to(at::kDouble);
    const at::Tensor white = at::matmul(at::matmul(matrix.t(), target), matrix) / level;
    EXPECT_LT((white - at::eye(200, at::kDouble)).abs().max().item<double>(), 1e-4) << share;
    const at::Tensor rows = whitening.rows(x), wanted = normalize_rows(at::matmul(centred, matrix).to(at::kFloat));
    EXPECT_LT((rows - wanted).abs().max().item<float>(), 1e-4);
  }
}

TEST(Whitening, BitsDoNotDependOnThreadsOrRanks) {
  const at::Tensor x = uneven_features(300, 150);
  const auto comm = make_self_communicator();
  const Whitening expected = fit_whitening(x, 0.3, 1, *comm);
  const at::Tensor rows = expected.rows(x, 1, *comm);
  EXPECT_LT((rows - expected.rows(x)).abs().max().item<float>(), 1e-5);
  for (int size = 1; size <= 4; ++size) {
    run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& rank_comm) {
      const Whitening found = fit_whitening(x, 0.3, 3, *rank_comm);
      EXPECT_TRUE(at::equal(found.mean, expected.mean)) << size << " ranks";
      EXPECT_TRUE(at::equal(found.matrix, expected.matrix)) << size << " ranks";
      EXPECT_TRUE(at::equal(found.rows(x, 2, *rank_comm), rows)) << size << " ranks";
    });
  }
}

TEST(Whitening, FewerImagesThanNumbersAndFeaturesThatAreAllTheSame) {
  const auto comm = make_self_communicator();
  const at::Tensor few = uneven_features(5, 40);
  EXPECT_TRUE(fit_whitening(few, 0.1, 1, *comm).rows(few).isfinite().all().item<bool>());
  const at::Tensor same = at::full({10, 8}, 0.25f);
  const Whitening whitening = fit_whitening(same, 0.3, 1, *comm);
  EXPECT_TRUE(at::equal(whitening.matrix, at::eye(8, at::kFloat)));
  EXPECT_TRUE(whitening.rows(same).isfinite().all().item<bool>());
  EXPECT_THROW(fit_whitening(at::zeros({2, kWidestWhitened + 1}), 0.3, 1, *comm), Error);
}

}  // namespace
}  // namespace dinoxx::eval
