// Values that no tensor's shape shows: periods of rotary positions, what a user or a file beside says, stems, types.
#include <gmock/gmock.h>

#include "facts_files.hpp"

namespace dinoxx {
namespace {

using namespace facts_tests;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace std::string_literals;

TEST(RotaryPeriods, SayTheirBase) {
  for (const auto& [base, rounded] : {std::pair(100.0, true), std::pair(100.0, false), std::pair(10000.0, true), std::pair(64.0, false)}) {
    VitConfig config = vit_config("vit_tiny", "dinov3");
    config.dim = 64;
    config.depth = 1;
    config.heads = 2;
    config.rope.base = base;
    config.rope.bf16_periods = rounded;
    const VisionTransformer vit(config, at::kFloat);
    const TemporaryFolder folder;
    export_backbone(Naming::kOfficial, config, vit.parameters(), folder / "out", kExport);
    const SafetensorsFile file(folder / "out" / "model.safetensors");
    write_safetensors(folder / "bare.safetensors", file.tensors());
    const DescribedNetwork r = describe_network(WeightFile::open(folder / "bare.safetensors"));
    const auto& found = std::get<VitConfig>(r.network.config);
    EXPECT_EQ(found.heads, 2);
    EXPECT_DOUBLE_EQ(found.rope.base, base);
    EXPECT_EQ(found.rope.bf16_periods, rounded);
  }
}

TEST(RotaryPeriods, OfEqualRatiosHaveNoBase) {
  VitConfig config = vit_config("vit_tiny", "dinov3");
  config.dim = 64;
  config.depth = 1;
  config.heads = 2;
  config.rope.min_period = 0.5;
  config.rope.max_period = 90;
  const VisionTransformer vit(config, at::kFloat);
  const TemporaryFolder folder;
  export_backbone(Naming::kOfficial, config, vit.parameters(), folder / "out", kExport);
  const WeightFile file = WeightFile::open(folder / "out");
  const DescribedNetwork found = describe_network(file);
  EXPECT_THAT(all_notes(found), HasSubstr("rotary periods from 0.5 to 90"));
  EXPECT_NEAR(std::get<VitConfig>(found.network.config).rope.max_period.value(), 90, 1e-3);
  FactOptions user;
  user.user.rope_base = 100;
  try {
    describe_network(file, user);
    ADD_FAILURE() << "a base is ignored in silence";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("rope_base"), HasSubstr("0.5 to 90")));
  }
  std::ofstream(folder / "out" / "config.json") << R"({"rope_theta": 100})";
  EXPECT_THROW(describe_network(file), UsageError);
}

TEST(WhatTheUserSays, IsTakenForTheInputAndRefusedForAnotherNetwork) {
  const Weights bare,
      whole(Files{
          {"config.json", R"({"architecture": "vit_tiny_patch4", "model_args": {"num_heads": 2}, "pretrained_cfg": {"crop_pct": 0.9}})"}});
  const auto input = [](const Weights& weights, const char* fit, std::optional<double> crop) {
    FactOptions options;
    if (fit) options.user.fit = fit;
    options.user.crop = crop;
    const DescribedNetwork found = weights.recognized(options);
    return std::pair(found.input.fit, found.input.crop);
  };
  EXPECT_EQ(input(bare, nullptr, std::nullopt), std::pair("crop"s, 0.875));
  EXPECT_EQ(input(bare, "whole", std::nullopt).first, "whole");
  EXPECT_EQ(input(bare, nullptr, 0.95), std::pair("crop"s, 0.95));
  EXPECT_EQ(input(whole, nullptr, std::nullopt), std::pair("crop"s, 0.9));
  EXPECT_EQ(input(whole, "crop", 1.0), std::pair("crop"s, 1.0));
  const auto refused = [&](auto member, auto value) {
    FactOptions options;
    options.user.*member = value;
    return bare.refused(options);
  };
  EXPECT_EQ(refused(&FactValues::activation, "gelu"s), "accepted");
  EXPECT_THAT(refused(&FactValues::activation, "relu"s), AllOf(HasSubstr("activation"), HasSubstr("relu")));
  EXPECT_THAT(refused(&FactValues::fit, "squash"s), HasSubstr("crop, whole"));
  EXPECT_THAT(refused(&FactValues::crop, 1.5), HasSubstr("at most 1"));
  // what this network has none of
  EXPECT_THAT(refused(&FactValues::rope_base, 100.0), HasSubstr("rope_base"));
  EXPECT_THAT(refused(&FactValues::rope_periods, "bf16"s), HasSubstr("rope_periods"));
  EXPECT_THAT(refused(&FactValues::stem_padding, 2), HasSubstr("stem_padding"));
  FactOptions cut;
  cut.user.fit = "whole";
  cut.user.crop = 0.9;
  EXPECT_THAT(bare.refused(cut), AllOf(HasSubstr("crop"), HasSubstr("shown whole")));
}

TEST(WhatLiesBeside, IsReadInItsOtherSpellings) {
  EXPECT_THAT(all_notes(Weights(Files{{"config.json", R"({"patch_size": [16, 16]})"}}).recognized()),
              HasSubstr("another network (patch_size 16"));
  EXPECT_THAT(Weights(Files{{"config.json", R"({"qkv_bias": false})"}}).refused(), AllOf(HasSubstr("qkv_bias"), HasSubstr("none")));
  EXPECT_THAT(all_notes(Weights(Files{{"preprocessor_config.json", R"({"resample": 2})"}}).recognized()), HasSubstr("bilinear"));
  EXPECT_THAT(all_notes(Weights(Files{{"preprocessor_config.json", R"({"resample": 3})"}}).recognized()), Not(HasSubstr("resized")));
  // what cannot be read is not taken for what was not said
  EXPECT_THAT(all_notes(Weights(Files{{"config.json", "{\"num_att"}}).recognized()),
              HasSubstr("config.json beside the weights is not used"));
  EXPECT_THAT(all_notes(Weights(Files{{"preprocessor_config.json", "[1]"}}).recognized()), HasSubstr("found array"));
  EXPECT_THAT(all_notes(Weights(Files{{"config.json", R"({"num_attention_heads": "2"})"}}).recognized()), HasSubstr("num_attention_heads"));
  EXPECT_THAT(
      all_notes(Weights(Files{{"preprocessor_config.json", R"({"image_mean": [0.5, 0.5], "do_flip_channel_order": true})"}}).recognized()),
      testing::AllOf(HasSubstr("image_mean is [0.5,0.5]"), HasSubstr("do_flip_channel_order is true")));
  EXPECT_THAT(Weights(Files{{"config.json", R"({"layer_norm_eps": -1})"}}).refused(), HasSubstr("norm_eps"));
  EXPECT_THAT(Weights(Files{{"preprocessor_config.json", R"({"image_mean": [123.7, 116.3, 103.5], "image_std": [1, 1, 1]})"}}).refused(),
              HasSubstr("from 0 to 1"));
  EXPECT_THAT(all_notes(Weights(Files{{"preprocessor_config.json", R"({"size": {"height": 32, "width": 48}})"}}).recognized()),
              HasSubstr("size is 32 x 48 pixels (height x width); here images are square, 32 x 32"));
  EXPECT_THAT(
      all_notes(
          Weights(
              Files{
                  {"config.json",
                   R"({"architecture": "vit_tiny_patch4", "model_args": {"num_heads": 2}, "pretrained_cfg": {"interpolation": "bilinear"}})"}})
              .recognized()),
      HasSubstr("resized by bilinear"));
}

TEST(FactsInAText, AreThoseOfTheKeys) {
  const FactValues found = facts_from_text(" heads=12  norm_eps=1e-6 mean=0.5,0.5,0.5 activation=gelu", "teacher.facts");
  EXPECT_EQ(found.heads, 12);
  EXPECT_EQ(found.norm_eps, 1e-6);
  EXPECT_EQ(found.mean, (std::array{0.5f, 0.5f, 0.5f}));
  EXPECT_EQ(found.activation, "gelu");
  EXPECT_EQ(facts_from_text("", "teacher.facts"), FactValues{});
  for (const char* text : {"heads", "depth=3", "heads=many", "=3"})
    EXPECT_THROW(facts_from_text(text, "teacher.facts"), UsageError) << text;
}

TEST(StemOfAResNet, HasSoloLearnsPaddingUnderItsNames) {
  ResNetConfig config = resnet_config("resnet18");
  config.width = 8;
  config.small_image_stem = true;
  const auto net = make_backbone(config, at::kFloat);
  net->initialize(1);
  const auto padding = [&](const std::string& beside, const FactOptions& options = {}) {
    const TemporaryFolder folder;
    NamedTensors all;
    for (const auto& [name, tensor] : stored_state(*net)) all.push_back({"backbone." + name, tensor});
    all.push_back({beside, at::ones({2, 2})});
    write_safetensors(folder / "model.safetensors", tensor_views(all));
    const ImportedBackbone imported = import_with_facts(folder.path(), at::kFloat, options);
    return std::pair(std::get<ResNetConfig>(imported.backbone->config()).stem_padding, fact(imported.facts, "stem_padding").assumed);
  };
  EXPECT_EQ(padding("classifier.weight"), std::pair(2, false));
  EXPECT_EQ(padding("fc.weight"), std::pair(1, true));
  FactOptions user;
  user.user.stem_padding = 2;
  EXPECT_EQ(padding("fc.weight", user), std::pair(2, false));
}

TEST(StemOfAResNet, PadsByWhatItSays) {
  ResNetConfig config = resnet_config("resnet18");
  config.width = 8;
  config.small_image_stem = true;
  const ResNetConfig plain = config;
  config.stem_padding = 2;
  ResNet net(config, at::kDouble), other(plain, at::kDouble);
  net.initialize(1);
  other.initialize(1);
  // a frame of zeros stands for the wider padding
  const at::Tensor images = golden::uniform("images", {1, 3, 14, 14});
  EXPECT_LT((net.forward(images) - other.forward(at::constant_pad_nd(images, {1, 1, 1, 1}, 0))).abs().max().item<double>(), 1e-12);
  EXPECT_GT((net.forward(images) - other.forward(images)).abs().max().item<double>(), 1e-3);
}

TEST(TypesOfAFile, AreKeptTensorByTensor) {
  const TemporaryFolder folder;
  const VisionTransformer vit(small_vit(), at::kFloat);
  golden::fill_parameters(vit.parameters());
  NamedTensors mixed = vit.parameters();
  for (NamedTensor& t : mixed)
    if (t.name.ends_with("qkv.weight")) t.tensor = t.tensor.to(at::kBFloat16);
  write_safetensors(folder / "model.safetensors", tensor_views(mixed));
  const ImportedBackbone imported = import_backbone(folder.path(), at::kFloat, {.heads = 2});
  ASSERT_EQ(imported.report.types.size(), mixed.size());
  for (const NamedTensor& t : mixed) EXPECT_EQ(imported.report.types.at(t.name), t.tensor.scalar_type()) << t.name;
}

}  // namespace
}  // namespace dinoxx
