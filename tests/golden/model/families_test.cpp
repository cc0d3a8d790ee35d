// Networks of other families that timm has: EUPE, TIPSv2, LingBot-Vision, C-RADIO (make_families.py). Their files give timm's features,
// come back from an export, and what has no counterpart is refused by name.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "dinoxx/base/error.hpp"
#include "golden.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"
#include "named_values.hpp"
#include "temporary_folder.hpp"

namespace dinoxx::golden {
namespace {

using nlohmann::json;
using testing_support::TemporaryFolder;

struct Case {
  const char* name;
  const char* says;  ///< of the network's description
  bool convnext = false;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

json case_of(const std::string& name) {
  return json::parse(Fixture("families").metadata().at("cases")).at(name);
}

/// A file under timm's names, with the numbers that timm's network had, and its config.json.
void write_network(const std::filesystem::path& folder, const json& network, at::ScalarType type, const std::string& without = "-") {
  NamedTensors tensors;
  for (const auto& [name, shape] : network.at("shapes").items())
    if (!name.starts_with(without)) tensors.push_back({name, named_value(name, shape.get<std::vector<int64_t>>()).to(type)});
  write_safetensors(folder / "model.safetensors", tensor_views(tensors), {{"format", "pt"}});
  std::ofstream(folder / "config.json") << network.at("config").get<std::string>();
}

at::Tensor tokens_of(const Backbone& backbone, const at::Tensor& images) {
  const Features f = backbone.forward_features({images, nullptr, {}, false});
  std::vector<at::Tensor> parts{f.cls.unsqueeze(1)};
  if (f.registers.defined()) parts.push_back(f.registers);
  parts.push_back(f.patches);
  return at::cat(parts, 1);
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

class Families : public testing::TestWithParam<Case> {};

void expect_their_features(const Case& c, const std::filesystem::path& file, at::ScalarType type, double tolerance) {
  const Fixture fixture("families");
  const ImportedBackbone imported = import_backbone(file, type);
  EXPECT_THAT(describe(imported.recognized.config), testing::HasSubstr(c.says));
  const json input = json::parse(case_of(c.name).at("config").get<std::string>()).at("pretrained_cfg");
  ASSERT_TRUE(imported.input.has_value());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_FLOAT_EQ(imported.input->normalization.values.mean[i], input.at("mean")[i].get<float>());
    EXPECT_FLOAT_EQ(imported.input->normalization.values.std[i], input.at("std")[i].get<float>());
  }
  for (const Fact& fact : imported.facts) EXPECT_FALSE(fact.assumed) << fact.name;
  std::vector<std::tuple<const char*, int, int>> sizes{{"native", 16, 16}, {"larger", 24, 24}, {"oblong", 12, 20}};
  if (c.convnext) sizes = {{"native", 64, 64}, {"oblong", 32, 96}};
  for (const auto& [size, height, width] : sizes) {
    const at::Tensor images = uniform(fmt::format("images/{}/{}", c.name, size), {2, 3, height, width}).to(type);
    EXPECT_TRUE(fixture.matches(fmt::format("{}/{}", c.name, size), tokens_of(*imported.backbone, images), tolerance));
    EXPECT_TRUE(near("CLS alone", imported.backbone->forward(images), tokens_of(*imported.backbone, images).select(1, 0), 10 * tolerance));
  }
}

TEST_P(Families, GiveTimmsFeatures) {
  const json network = case_of(GetParam().name);
  for (const auto& [type, tolerance] : {std::pair(at::kDouble, 1e-10), std::pair(at::kFloat, 1e-5)}) {
    const TemporaryFolder folder;
    write_network(folder.path(), network, type);
    expect_their_features(GetParam(), folder.path(), type, tolerance);
  }
}

TEST_P(Families, ComeBackFromAnExport) {
  const json network = case_of(GetParam().name);
  const TemporaryFolder folder;
  write_network(folder.path(), network, at::kDouble);
  const ImportedBackbone imported = import_backbone(folder.path(), at::kDouble);
  const ExportOptions input{imported.input->normalization.values, false, imported.input->image_size, imported.input->fit,
                            imported.input->crop};
  export_backbone(Naming::kDinoxx, imported.recognized.config, stored_state(*imported.backbone), folder / "dinoxx", input);
  expect_their_features(GetParam(), folder / "dinoxx", at::kDouble, 1e-10);
  const auto* vit = std::get_if<VitConfig>(&imported.recognized.config);
  if (vit && vit->ffn == "swiglu" && vit->positions == "learned") return;  // timm cannot be told of it by arguments
  export_backbone(Naming::kTimm, imported.recognized.config, stored_state(*imported.backbone), folder / "timm", input);
  expect_their_features(GetParam(), folder / "timm", at::kDouble, 1e-10);
  const SafetensorsFile again(folder / "timm" / "model.safetensors");
  ASSERT_EQ(again.tensors().size(), network.at("shapes").size());
  for (const auto& [name, shape] : network.at("shapes").items()) {
    ASSERT_TRUE(again.tensors().contains(name)) << name;
    EXPECT_TRUE(near(name, to_tensor(again.at(name)), named_value(name, shape.get<std::vector<int64_t>>()), 1e-12));
  }
}

INSTANTIATE_TEST_SUITE_P(, Families,
                         testing::Values(Case{"eupe_vit", "rotary positions, 4 registers, LayerScale"},
                                         Case{"eupe_convnext", "ConvNeXt", true},
                                         Case{"tipsv2", "learned positions, 1 registers, LayerScale"},
                                         Case{"tipsv2_so400m", "4 heads, patch 4, learned positions, 1 registers, LayerScale"},
                                         Case{"tipsv2_giant", "learned positions, 1 registers, LayerScale, SwiGLU"},
                                         Case{"lingbot", "rotary positions, 4 registers, LayerScale"},
                                         Case{"lingbot_giant", "rotary positions, 4 registers, LayerScale, SwiGLU"},
                                         Case{"radio_v3", "learned positions, 7 registers, LayerScale, no final norm"},
                                         Case{"radio_v3_huge", "learned positions, 7 registers, no final norm"},
                                         Case{"radio_v4", "learned positions, 9 registers, no final norm"}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(FamiliesUnderOfficialNames, MayHaveHeadsForTheirTeachers) {
  const Case eupe{"eupe_vit", "rotary positions, 4 registers, LayerScale"};
  const TemporaryFolder folder;
  write_network(folder.path(), case_of(eupe.name), at::kFloat);
  const ImportedBackbone imported = import_backbone(folder.path(), at::kFloat);
  export_backbone(Naming::kOfficial, imported.recognized.config, stored_state(*imported.backbone), folder / "official",
                  {imagenet_normalization()});
  const SafetensorsFile file(folder / "official" / "model.safetensors");
  NamedTensors all{{"projectors.one.0.weight", at::ones({2, 48})}};
  for (const auto& [name, view] : file.tensors()) all.push_back({name, to_tensor(view)});
  write_safetensors(folder / "whole.safetensors", tensor_views(all));
  const ImportedBackbone again = import_backbone(folder / "whole.safetensors", at::kFloat, {.heads = 3});
  EXPECT_THAT(again.report.ignored, testing::Contains("projectors.one.0.weight: head"));
  for (size_t i = 0; i < again.backbone->parameters().size(); ++i) {
    const auto& [name, tensor] = again.backbone->parameters()[i];
    EXPECT_TRUE(at::equal(tensor, imported.backbone->parameters()[i].tensor)) << name;
  }
}

// A lost norm is not taken for a network without one.
TEST(FamiliesRefused, ATruncatedNetworkIsNoCRadio) {
  const TemporaryFolder folder;
  for (const char* name : {"norm.weight", "norm.bias"}) {
    write_network(folder.path(), case_of("tipsv2"), at::kFloat, name);
    EXPECT_THAT(message_of([&] { import_backbone(folder.path(), at::kFloat); }), testing::HasSubstr(fmt::format("1 missing: {}", name)));
  }
  write_network(folder.path(), case_of("tipsv2"), at::kFloat, "norm.");
  const std::string message = message_of([&] { import_backbone(folder.path(), at::kFloat); });
  EXPECT_THAT(message, testing::AllOf(testing::HasSubstr("norm.weight"), testing::HasSubstr("vit_base_patch14_reg1_tipsv2")));
}

TEST(FamiliesRefused, WhatHasNoCounterpartIsNamed) {
  const TemporaryFolder folder;
  const auto refused = [&](const NamedTensors& tensors) {
    write_safetensors(folder / "model.safetensors", tensor_views(tensors));
    return message_of([&] { import_backbone(folder / "model.safetensors", at::kFloat); });
  };
  const std::string block = "blocks.0.norm1.weight";
  EXPECT_THAT(refused({{"radio_model.model.patch_generator.embedder.weight", at::ones({8, 48})},
                       {"radio_model.model.patch_generator.pos_embed", at::ones({1, 16, 8})},
                       {"radio_model.model." + block, at::ones({8})}}),
              testing::AllOf(testing::HasSubstr("C-RADIO"), testing::HasSubstr("vit_*_radio_*")));
  EXPECT_THAT(refused({{"embeds.proj.weight", at::ones({8, 48})}, {block, at::ones({8})}}), testing::HasSubstr("NaFlexViT"));
}

TEST(FamiliesRefused, WithoutAFinalNormThereAreNoOtherNames) {
  const TemporaryFolder folder;
  write_network(folder.path(), case_of("radio_v3"), at::kFloat);
  const ImportedBackbone imported = import_backbone(folder.path(), at::kFloat);
  for (const Naming naming : {Naming::kOfficial, Naming::kTransformers})
    EXPECT_THAT(message_of([&] {
                  export_backbone(naming, imported.recognized.config, stored_state(*imported.backbone), folder / "m",
                                  {imagenet_normalization()});
                }),
                testing::HasSubstr("a network without a final norm"));
}

}  // namespace
}  // namespace dinoxx::golden
