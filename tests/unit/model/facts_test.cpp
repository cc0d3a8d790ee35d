// What no tensor's shape shows: who says it, who is believed, what an export carries.
#include <gmock/gmock.h>

#include "facts_files.hpp"

namespace dinoxx {
namespace {

using namespace facts_tests;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using namespace std::string_literals;

TEST(InputOfAFile, IsNormalisedAsThePreprocessorSays) {
  const Normalization half({0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f});
  const auto normalization = [](const std::string& name, const std::string& text) {
    const DescribedNetwork r = Weights(Files{{name, text}}).recognized();
    EXPECT_FALSE(r.input.normalization.assumed) << text;
    EXPECT_THAT(r.input.normalization.source, HasSubstr(name));
    EXPECT_THAT(all_notes(r), Not(HasSubstr("normalised"))) << text;
    return r.input.normalization.values;
  };
  const char* processor = "preprocessor_config.json";
  EXPECT_EQ(normalization(processor, R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})"), half);
  EXPECT_EQ(normalization(processor, R"({"image_mean": 0.5, "image_std": [0.5]})"), half) << "one number for all channels";
  EXPECT_EQ(normalization(processor, R"({"do_normalize": false, "image_mean": [0.1, 0.1, 0.1]})"), Normalization({0, 0, 0}, {1, 1, 1}));
  EXPECT_EQ(normalization(processor, R"({"do_rescale": false, "image_mean": [127.5, 127.5, 127.5], "image_std": [127.5, 127.5, 127.5]})"),
            half)
      << "on pixels from 0 to 255";
  EXPECT_EQ(normalization(processor, R"({"rescale_factor": 0.00784313725, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]})"), half);
  const std::string timm = R"("mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5])";
  EXPECT_EQ(
      normalization("config.json", R"({"architecture": "vit_tiny", "model_args": {"embed_dim": 32}, "pretrained_cfg": {)" + timm + "}}"),
      half);
  EXPECT_EQ(normalization("config.json", "{\"architecture\": \"own\", " + timm + "}"), half) << "as earlier versions of timm wrote it";
}

TEST(InputOfAFile, IsSetByTheUserAndElseAssumedAloud) {
  const DescribedNetwork assumed = Weights().recognized();
  EXPECT_TRUE(assumed.input.normalization.assumed);
  EXPECT_THAT(all_notes(assumed), AllOf(HasSubstr("ImageNet's"), HasSubstr("--model.mean")));
  FactOptions user;
  user.user = mean_and_std(0.5f, 0.25f);
  const DescribedNetwork set = Weights().recognized(user);
  EXPECT_EQ(set.input.normalization.values, Normalization({0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}));
  EXPECT_FALSE(set.input.normalization.assumed);
  const DescribedNetwork against =
      Weights(Files{{"preprocessor_config.json", R"({"image_mean": [0.1, 0.1, 0.1], "image_std": [1, 1, 1]})"}}).recognized(user);
  EXPECT_EQ(against.input.normalization.values, set.input.normalization.values) << "how an image is shown is the user's to choose";
  EXPECT_THAT(all_notes(against), HasSubstr("preprocessor_config.json says 0.1"));
}

TEST(InputOfAFile, ThatIsStatedTwiceIsStatedAlike) {
  const std::map<std::string, std::string> beside{
      {"preprocessor_config.json", R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})"}};
  const Weights both(beside, Files{{kNormalizationKey, to_text(imagenet_normalization())}});
  EXPECT_THAT(both.refused(), AllOf(HasSubstr("mean"), HasSubstr("0.485"), HasSubstr("preprocessor_config.json")));
  FactOptions user;
  user.user = mean_and_std(0.5f, 0.5f);
  EXPECT_EQ(both.recognized(user).input.normalization.values.mean[0], 0.5f);
}

TEST(InputOfAFile, HasTheSizeAndCropOfItsPublication) {
  const DescribedNetwork dinov2 =
      Weights(Files{{"preprocessor_config.json", R"({"crop_size": {"height": 24, "width": 24}, "size": {"shortest_edge": 32}})"}})
          .recognized();
  EXPECT_EQ(dinov2.input.image_size, 24);
  EXPECT_EQ(dinov2.input.fit, "crop");
  EXPECT_DOUBLE_EQ(dinov2.input.crop, 0.75);
  const DescribedNetwork dinov3 = Weights(Files{{"preprocessor_config.json", R"({"size": {"height": 26, "width": 26}})"}}).recognized();
  EXPECT_EQ(dinov3.input.fit, "whole");
  EXPECT_EQ(dinov3.input.image_size, 24) << "a multiple of the patch";
  EXPECT_THAT(all_notes(dinov3), HasSubstr("24 pixels"));
}

TEST(FactsOfAFile, ComeFromAConfigurationOfThisNetworkAlone) {
  const auto heads = [](const std::string& text) { return fact(Weights(Files{{"config.json", text}}).recognized().facts, "heads"); };
  const Fact stated =
      heads(R"({"model_type": "vit", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 8, "patch_size": 4})");
  EXPECT_EQ(stated.value, "8");
  EXPECT_EQ(stated.source, "config.json");
  for (const char* foreign :
       {R"({"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 8})",
        R"({"hidden_size": 64, "num_attention_heads": 8})", R"({"num_hidden_layers": 12, "num_attention_heads": 8})",
        R"({"patch_size": 16, "num_attention_heads": 8})", R"({"num_attention_heads": 5})", R"({"architecture": "vit_base_patch16_224"})",
        R"({"architecture": "resnet50", "model_args": {"num_heads": 8}})"}) {
    SCOPED_TRACE(foreign);
    const Weights weights(
        Files{{"config.json", foreign}, {"preprocessor_config.json", R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})"}});
    const DescribedNetwork r = weights.recognized();
    EXPECT_EQ(fact(r.facts, "heads").value, "1") << "as published for a width of 32";
    EXPECT_TRUE(fact(r.facts, "heads").assumed);
    EXPECT_TRUE(r.input.normalization.assumed) << "the preprocessor is of that other network too";
    EXPECT_THAT(all_notes(r), HasSubstr("describes another network"));
  }
}

TEST(FactsOfAFile, ThatContradictEachOtherAreRefused) {
  const Weights twice(Files{{"config.json", R"({"num_attention_heads": 8})"}}, Files{{kFactsKey, R"({"heads": 4})"}});
  EXPECT_THAT(twice.refused(), AllOf(HasSubstr("heads"), HasSubstr("4"), HasSubstr("8 in config.json")));
  EXPECT_EQ(fact(twice.recognized(heads_by_user(8)).facts, "heads").value, "8") << "the user decides";
  const Weights once(Files{{"config.json", R"({"num_attention_heads": 8})"}});
  EXPECT_THAT(once.refused(heads_by_user(4)), AllOf(HasSubstr("8, as config.json says"), HasSubstr("found 4")));
  EXPECT_THAT(Weights(Files{{"config.json", R"({"hidden_act": "relu"})"}}).refused(), HasSubstr("relu"));
  EXPECT_THAT(Weights(Files{{"config.json", R"({"architecture": "own", "model_args": {"act_layer": "quick_gelu"}})"}}).refused(),
              HasSubstr("quick_gelu"));
}

TEST(FactsOfAFile, AreInTimmsNames) {
  const TemporaryFolder folder;
  write_safetensors(folder / "model.safetensors", tensor_views({{"a", at::ones({1})}}));
  const WeightFile file = WeightFile::open(folder.path(), FileAccess::kHeader);
  const auto heads = [&](const std::string& architecture, int width, int patch) {
    std::ofstream(folder / "config.json") << json{{"architecture", architecture}}.dump();
    VitConfig shapes;
    shapes.dim = width;
    shapes.patch_size = patch;
    std::vector<std::string> notes;
    const std::vector<FactSource> sources = facts_beside(file, shapes, notes);
    EXPECT_EQ(sources.empty(), !notes.empty());
    return sources.empty() ? -1 : sources.front().says.heads.value_or(0);
  };
  EXPECT_EQ(heads("vit_huge_patch14_224.mae", 1280, 14), 16) << "not 1280 / 64";
  EXPECT_EQ(heads("vit_huge_plus_patch16_dinov3.lvd1689m", 1280, 16), 20);
  EXPECT_EQ(heads("vit_giant_patch14_dinov2.lvd142m", 1536, 14), 24);
  EXPECT_EQ(heads("vit_gigantic_patch14_224", 1664, 14), 16);
  for (const auto& [name, patch] : {std::pair("vit_giant_patch14_reg1_tipsv2", 14), std::pair("vit_giant_patch16_lingbot", 16),
                                    std::pair("vit_giant_patch16_radio_v3", 16)}) {
    EXPECT_EQ(heads(name, 1536, patch), 24) << name;
    EXPECT_EQ(heads(name, 1408, patch), -1) << name;
  }
  EXPECT_EQ(heads("vit_so400m_patch14_reg1_tipsv2", 1152, 14), 16) << "not 1152 / 64";
  EXPECT_EQ(heads("vit_huge_patch16_radio_v4", 1280, 16), 16);
  EXPECT_EQ(heads("vit_tiny_patch16_dinov3_qkvb", 192, 16), 3);
  EXPECT_EQ(heads("vit_small_patch16_224.dino", 384, 16), 6);
  EXPECT_EQ(heads("vit_small_patch16_224.dino", 768, 16), -1) << "of another network";
  EXPECT_EQ(heads("vit_small_patch16_224.dino", 384, 8), -1);
  EXPECT_EQ(heads("somebodys_vit", 384, 16), 0) << "says nothing";
}

TEST(HeadsThatNobodySays, AreThoseOfThePublishedNetwork) {
  const auto heads = [](int width, double ratio, const char* positions = "learned", const char* ffn = "mlp") {
    VitConfig c;
    c.dim = width, c.mlp_ratio = ratio, c.positions = positions, c.ffn = ffn;
    return published_heads(c);
  };
  EXPECT_EQ(heads(384, 4), 6);
  EXPECT_EQ(heads(4096, 3, "rope", "swiglu"), 32);
  EXPECT_EQ(heads(1152, 4304.5 / 1152), 16) << "SigLIP's, TIPSv2's and C-RADIO's";
  EXPECT_EQ(heads(1152, 3.777777778, "rope"), 18) << "DINOv3's";
  EXPECT_EQ(heads(1280, 4), 16) << "ViT-H";
  EXPECT_EQ(heads(1280, 6, "rope", "swiglu"), 20) << "DINOv3's H+";
  EXPECT_EQ(heads(1408, 48 / 11.), 16);
  EXPECT_EQ(heads(1536, 4, "learned", "swiglu"), 24);
  EXPECT_EQ(heads(16, 4), 1);
}

TEST(FactsOfAConvNext, HaveItsConfigurationsEpsilon) {
  const TemporaryFolder folder;
  ConvNextConfig config;
  config.depths = {1, 1, 1, 1};
  config.dims = {8, 16, 24, 32};
  config.norm_eps = 1e-5;
  const auto net = make_backbone(config, at::kFloat);
  net->initialize(1);
  for (const Naming naming : {Naming::kOfficial, Naming::kTimm, Naming::kTransformers}) {
    const std::filesystem::path out = folder / std::string(naming_name(naming));
    export_backbone(naming, config, stored_state(*net), out, kExport);
    EXPECT_DOUBLE_EQ(std::get<ConvNextConfig>(import_backbone(out, at::kFloat).recognized.config).norm_eps, 1e-5) << naming_name(naming);
  }
}

TEST(FactsOfAnExport, AreReadAgain) {
  for (const char* style : {"dino", "dinov2", "dinov2_reg", "dinov3"}) {
    VitConfig config = vit_config("vit_tiny", style);
    config.image_size = 16;
    config.patch_size = 4;
    config.dim = 32;
    config.depth = 2;
    config.heads = 4;  // 32 / 64 says 1
    config.norm_eps = 3e-5;
    const VisionTransformer vit(config, at::kFloat);
    ExportOptions input{{{0.5f, 0.4f, 0.3f}, {0.2f, 0.2f, 0.1f}}};
    input.image_size = 24;
    input.fit = "whole";
    for (const Naming naming : {Naming::kDinoxx, Naming::kOfficial, Naming::kTimm, Naming::kTransformers}) {
      SCOPED_TRACE(fmt::format("{} {}", style, naming_name(naming)));
      const TemporaryFolder folder;
      export_backbone(naming, config, vit.parameters(), folder / "out", input);
      const DescribedNetwork r = describe_network(WeightFile::open(folder / "out"));
      const auto& found = std::get<VitConfig>(r.network.config);
      EXPECT_EQ(found.heads, 4);
      EXPECT_DOUBLE_EQ(found.norm_eps, 3e-5);
      EXPECT_EQ(found.mask_key_bias, config.mask_key_bias);
      EXPECT_EQ(r.input.normalization.values, input.normalization);
      EXPECT_EQ(r.input.image_size, 24);
      EXPECT_EQ(r.input.fit, "whole");
      for (const Fact& f : r.facts) EXPECT_FALSE(f.assumed) << describe(f);
      EXPECT_THAT(r.network.notes, IsEmpty());
    }
  }
}

TEST(FactsOfAnExport, OfTimmGiveTimmsResizedSide) {
  const VisionTransformer vit(small_vit(), at::kFloat);
  for (const int size : {16, 32, 36, 64, 96, 224, 256, 384, 512, 518}) {
    const TemporaryFolder folder;
    ExportOptions options = kExport;
    options.image_size = size;
    export_backbone(Naming::kTimm, vit.config(), vit.parameters(), folder / "out", options);
    std::ifstream in(folder / "out" / "config.json");
    const double crop = json::parse(in)["pretrained_cfg"]["crop_pct"].get<double>();
    EXPECT_EQ(static_cast<int>(std::floor(size / crop)), static_cast<int>(std::lround(size * 256.0 / 224.0))) << size;
  }
}

TEST(BiasOfTheKeys, StaysWhereItIsNotMasked) {
  VitConfig config = vit_config("vit_tiny", "dinov3");
  config.image_size = 16;
  config.patch_size = 4;
  config.dim = 32;
  config.depth = 2;
  config.heads = 2;
  config.mask_key_bias = false;  // qkv_bias: true, mask_k_bias: false
  VisionTransformer vit(config, at::kDouble);
  golden::fill_parameters(vit.parameters());
  const at::Tensor images = golden::uniform("images", {2, 3, 16, 16});
  const at::Tensor expected = vit.forward(images);
  for (const Naming naming : {Naming::kDinoxx, Naming::kOfficial, Naming::kTransformers}) {
    SCOPED_TRACE(naming_name(naming));
    const TemporaryFolder folder;
    export_backbone(naming, config, vit.parameters(), folder / "out", kExport);
    const ImportedBackbone imported = import_backbone(folder / "out", at::kDouble);
    EXPECT_EQ(fact(imported.facts, "qkv_bias").value, "live");
    EXPECT_LT((imported.backbone->forward(images) - expected).abs().max().item<double>(), 1e-12);
  }
  const TemporaryFolder folder;
  // official names without a word beside them, as the official code saves
  export_backbone(Naming::kOfficial, config, vit.parameters(), folder / "out", kExport);
  const SafetensorsFile file(folder / "out" / "model.safetensors");
  write_safetensors(folder / "bare.safetensors", file.tensors());
  const ImportedBackbone bare = import_backbone(folder / "bare.safetensors", at::kDouble, {.heads = 2});
  EXPECT_LT((bare.backbone->forward(images) - expected).abs().max().item<double>(), 1e-12);
  // timm has no such parameter
  EXPECT_THROW(export_backbone(Naming::kTimm, config, vit.parameters(), folder / "timm", kExport), UsageError);
  // and masked stays masked
  config.mask_key_bias = true;
  export_backbone(Naming::kOfficial, config, vit.parameters(), folder / "masked", kExport);
  EXPECT_EQ(fact(describe_network(WeightFile::open(folder / "masked")).facts, "qkv_bias").value, "masked");
}

}  // namespace
}  // namespace dinoxx
