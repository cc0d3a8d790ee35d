// A run that begins with published weights: its network is the file's, whatever the recipe says, and what was typed holds.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>

#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "model/heads/head_config.hpp"
#include "model/model_config.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/import.hpp"
#include "source_dir.hpp"
#include "step/build.hpp"
#include "temporary_folder.hpp"
#include "train/start/follow_weights.hpp"
#include "train/start/other_weights.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing_support::TemporaryFolder;

constexpr uint64_t kImages = 1000;

VitConfig published(const std::string& style, int patch) {
  VitConfig c = vit_config("vit_small", style);
  c.dim = 64;
  c.depth = 2;
  c.heads = 4;  // 64 / 64 says 1
  c.patch_size = patch;
  c.image_size = 8 * patch;
  return c;
}

/// A folder as transformers or the official code would leave it.
fs::path write_weights(const fs::path& folder, const BackboneConfig& config, Naming naming,
                       const Normalization& input = imagenet_normalization()) {
  const auto network = make_backbone(config, at::kFloat);
  network->initialize(7);
  export_backbone(naming, config, stored_state(*network), folder, ExportOptions{input});
  return folder;
}

Config recipe(const std::string& name, const fs::path& weights) {
  Config config = default_config();
  apply_settings(config, read_settings(source_dir() / "configs" / name));
  config.model->init_from = weights.string();
  config.head->hidden_dim = 16;
  config.head->out_dim = 16;
  return config;
}

/// Starts as the command does, and gives back what the log says.
std::string begin(Config config, const std::set<std::string>& typed = {}) {
  std::string log;
  try {
    for (const std::string& line : follow_weights(config, typed)) log += line + "\n";
    refuse_unread_keys(config, kImages, 1, 1);
    const Config resolved = resolve_config(config, kImages, 1);
    TrainState state(resolved, make_method(resolved), at::kFloat);
    for (const std::string& line : init_from(resolved.model->init_from, resolved, state)) log += line + "\n";
    // the networks hold the file's tensors
    const ImportedBackbone imported = import_backbone(weight_path("model.init_from", resolved.model->init_from), at::kFloat);
    size_t compared = 0;
    for (const auto& [name, tensor] : imported.backbone->parameters())
      for (const auto& [own, parameter] : state.student.parameters()) {
        if (own != "backbone." + name || tensor.sizes() != parameter.sizes()) continue;
        EXPECT_TRUE(at::equal(tensor, parameter)) << name;
        ++compared;
      }
    EXPECT_GT(compared, 10u);
  } catch (const UsageError& error) {
    log += std::string("refused: ") + error.what();
  }
  return log;
}

TEST(WeightsToBeginWith, GiveTheRecipeTheirNetwork) {
  const TemporaryFolder folder;
  // README: dinov2_64px.cfg (patch 8, crops of 64 and 32 pixels) with a published DINOv2 file
  const fs::path weights =
      write_weights(folder / "dinov2", published("dinov2", 14), Naming::kTransformers, {{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}});
  Config config = recipe("dinov2_64px.cfg", weights);
  const std::vector<std::string> notes = follow_weights(config, {});
  EXPECT_EQ(config.model->patch_size, 14);
  EXPECT_EQ(config.model->dim, 64);
  EXPECT_EQ(config.model->heads, 4);
  EXPECT_EQ(config.model->image_size, 112);
  EXPECT_EQ(config.model->position_resize, "exact") << "as transformers does";
  EXPECT_EQ(config.model->mean, "0.5,0.5,0.5");
  EXPECT_EQ(config.views->global_size, 70);
  EXPECT_EQ(config.views->local_size, 28);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_THAT(notes[1], AllOf(HasSubstr("facts of the weights: "), HasSubstr("heads 4"), testing::Not(HasSubstr("option or key"))));
  EXPECT_THAT(notes[0], AllOf(HasSubstr("model.patch_size = 14 (8 in the configuration)"), HasSubstr("views.global_size = 70 (64"),
                              HasSubstr("model.heads = 4")));
  EXPECT_EQ(make_method(resolve_config(config, kImages, 1)).views.normalization, Normalization({0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}));
  EXPECT_THAT(begin(recipe("dinov2_64px.cfg", weights)),
              AllOf(HasSubstr("heads begin anew"), HasSubstr("heads 4,"), testing::Not(HasSubstr("refused"))));
  // once more from what it was resolved to
  EXPECT_EQ(follow_weights(config, {}).size(), 1u) << "the facts alone";
}

TEST(WeightsToBeginWith, MayBeOfAnyPublishedKind) {
  const TemporaryFolder folder;
  int n = 0;
  for (const auto& [style, patch] : {std::pair("dino", 16), std::pair("dinov2", 14), std::pair("dinov2_reg", 14), std::pair("dinov3", 16)})
    for (const Naming naming : {Naming::kOfficial, Naming::kTimm, Naming::kTransformers}) {
      SCOPED_TRACE(fmt::format("{} {}", style, naming_name(naming)));
      const fs::path weights = write_weights(folder / std::to_string(n++), published(style, patch), naming);
      EXPECT_THAT(begin(recipe("dinov2_64px.cfg", weights)), testing::Not(HasSubstr("refused")));
    }
  VitConfig live = published("dinov3", 16);
  live.mask_key_bias = false;
  const fs::path kept = write_weights(folder / "live", live, Naming::kOfficial);
  EXPECT_THAT(begin(recipe("dinov3_64px.cfg", kept)), AllOf(HasSubstr("qkv_bias live"), testing::Not(HasSubstr("refused"))));
  VitConfig gated = published("dinov3", 16);  // LingBot-Vision's and TIPSv2's largest
  gated.ffn = "swiglu", gated.qkv_bias = gated.mask_key_bias = false;
  EXPECT_THAT(begin(recipe("dinov3_64px.cfg", write_weights(folder / "gated", gated, Naming::kTimm))), testing::Not(HasSubstr("refused")));
  gated = published("dinov2_reg", 14);
  gated.ffn = "swiglu", gated.registers = 1;
  EXPECT_THAT(begin(recipe("dinov2_64px.cfg", write_weights(folder / "registers", gated, Naming::kDinoxx))),
              testing::Not(HasSubstr("refused")));
  VitConfig radio = published("dinov2_reg", 16);
  radio.final_norm = false;
  EXPECT_THAT(begin(recipe("dinov2_64px.cfg", write_weights(folder / "radio", radio, Naming::kTimm))),
              AllOf(HasSubstr("refused"), HasSubstr("no final norm"), HasSubstr("It can be evaluated")));
  ResNetConfig resnet = resnet_config("resnet18");
  resnet.small_image_stem = true;
  resnet.width = 8;
  EXPECT_THAT(begin(recipe("byol_64px.cfg", write_weights(folder / "resnet", resnet, Naming::kOfficial))),
              AllOf(HasSubstr("stem for small images"), HasSubstr("model.dim = 64"), testing::Not(HasSubstr("refused"))));
  resnet.depths.fill(1);
  EXPECT_THAT(begin(recipe("byol_64px.cfg", write_weights(folder / "resnet10", resnet, Naming::kOfficial))),
              AllOf(HasSubstr("model.depth = 4"), testing::Not(HasSubstr("refused"))));
  resnet.depths = {1, 2, 1, 1};
  EXPECT_THAT(begin(recipe("byol_64px.cfg", write_weights(folder / "uneven", resnet, Naming::kOfficial))),
              AllOf(HasSubstr("refused"), HasSubstr("blocks 1 2 1 1"), HasSubstr("It can be evaluated")));
}

TEST(WeightsToBeginWith, LeaveKeysAloneThatTheRunDoesNotRead) {
  const TemporaryFolder folder;
  // BYOL has no local crops, whose size patch 14 does not divide
  const fs::path weights = write_weights(folder / "dinov2", published("dinov2", 14), Naming::kTransformers);
  EXPECT_THAT(begin(recipe("byol_64px.cfg", weights)), AllOf(HasSubstr("views.global_size = 70"), testing::Not(HasSubstr("refused"))));
}

TEST(WeightsToBeginWith, AreNotWhatWasTyped) {
  const TemporaryFolder folder;
  const fs::path weights = write_weights(folder / "dinov2", published("dinov2", 14), Naming::kTransformers);
  Config wide = recipe("dinov2_64px.cfg", weights);
  wide.model->dim = 48;
  wide.model->heads = 4;
  EXPECT_THAT(begin(wide, {"model.dim"}), AllOf(HasSubstr("refused"), HasSubstr("instead of"), HasSubstr("nothing was loaded")));
  Config base = recipe("dinov2_64px.cfg", weights);
  base.model->arch = "vit_tiny";
  EXPECT_THAT(begin(base, {"model.arch"}), HasSubstr("refused"));
  // heads change no shape
  Config heads = recipe("dinov2_64px.cfg", weights);
  heads.model->heads = 2;
  EXPECT_THAT(begin(heads, {"model.heads"}), AllOf(HasSubstr("refused"), HasSubstr("heads"), HasSubstr("4, as")));
  EXPECT_THAT(begin(heads), HasSubstr("model.heads = 4 (2 in the configuration)")) << "a recipe's heads are no word about this file";
}

TEST(WeightsToBeginWith, HaveTheirPositionsResizedWhereTheRecipeSaysSo) {
  const TemporaryFolder folder;
  const fs::path weights = write_weights(folder / "dinov2", published("dinov2", 14), Naming::kOfficial);
  Config config = recipe("dinov2_64px.cfg", weights);
  config.model->image_size = 140;
  EXPECT_THAT(begin(config), AllOf(HasSubstr("positions resized from 8 x 8 to 10 x 10"), testing::Not(HasSubstr("refused"))));
}

TEST(WeightsToBeginWith, AreNotNeededByARunThatGoesOn) {
  const TemporaryFolder folder;
  const fs::path weights = write_weights(folder / "dinov2", published("dinov2", 14), Naming::kTransformers);
  const Config given = recipe("dinov2_64px.cfg", weights);
  Config first = given;
  follow_weights(first, {});
  const Config began = resolve_config(first, kImages, 1);
  fs::remove_all(weights);
  Config again = given;
  follow_weights(again, {}, &began);
  EXPECT_EQ(training_identity(resolve_config(again, kImages, 1)), training_identity(began));
  Config lost = given;
  EXPECT_THROW(follow_weights(lost, {}), UsageError);
}

}  // namespace
}  // namespace dinoxx
