// Weights as other programs keep them and users meet them: names in memory, networks in parts, numbers that are none, descriptions that
// lie.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "golden/model/cases.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"
#include "source_dir.hpp"
#include "temporary_folder.hpp"

namespace dinoxx::golden {
namespace {

using testing_support::TemporaryFolder;

const ExportOptions kExport{imagenet_normalization()};

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

class NamesInMemory : public testing::TestWithParam<FamilyCase> {};

// A state_dict() of transformers that somebody saved has the names in memory, which are not those of its files (make_memory_names.py).
TEST_P(NamesInMemory, AreReadAsThoseOfTheFiles) {
  const FamilyCase& c = GetParam();
  const nlohmann::json names = nlohmann::json::parse(read_text(golden_dir() / "memory_names.json"))["names"][c.name];
  ASSERT_FALSE(names.empty());
  VisionTransformer vit(family_vit(c), at::kDouble);
  fill_family(vit.parameters(), vit.config().mask_key_bias);
  const TemporaryFolder folder;
  export_backbone(Naming::kTransformers, vit.config(), vit.parameters(), folder / "file", kExport);
  const SafetensorsFile file(folder / "file" / "model.safetensors");
  for (const std::string prefix : {"", "backbone."}) {
    NamedTensors memory;
    for (const auto& [name, view] : file.tensors()) {
      ASSERT_TRUE(names.contains(name)) << name;
      const std::vector<at::Tensor> parts = to_tensor(view).chunk(static_cast<int64_t>(names[name].size()));
      for (size_t i = 0; i < parts.size(); ++i) memory.push_back({prefix + names[name][i].get<std::string>(), parts[i].contiguous()});
    }
    write_safetensors(folder / "memory.safetensors", tensor_views(memory));
    const ImportedBackbone imported = import_backbone(folder / "memory.safetensors", at::kDouble, {.heads = 3, .image_size = 16});
    EXPECT_EQ(imported.recognized.naming, Naming::kTransformers);
    ASSERT_EQ(imported.backbone->parameters().size(),
              import_backbone(folder / "file", at::kDouble, {.heads = 3}).backbone->parameters().size());
    std::map<std::string, at::Tensor> original;
    for (const auto& [name, tensor] : vit.parameters()) original[name] = tensor;
    for (const auto& [name, tensor] : imported.backbone->parameters())
      if (original.contains(name)) EXPECT_TRUE(at::equal(tensor, original.at(name))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Styles, NamesInMemory,
                         testing::Values(FamilyCase{"dino", "dino", false}, FamilyCase{"dinov2", "dinov2", false},
                                         FamilyCase{"dinov2_swiglu", "dinov2", true}, FamilyCase{"dinov2_reg", "dinov2_reg", false},
                                         FamilyCase{"dinov2_reg_swiglu", "dinov2_reg", true}, FamilyCase{"dinov3", "dinov3", false},
                                         FamilyCase{"dinov3_swiglu", "dinov3", true}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ForeignWeights, ConvNeXtInMemoryToo) {
  const nlohmann::json names = nlohmann::json::parse(read_text(golden_dir() / "memory_names.json"))["names"]["convnext"];
  ConvNextConfig config;
  config.depths = {1, 1, 2, 1};
  config.dims = {8, 16, 24, 32};
  const auto net = make_backbone(config, at::kFloat);
  net->initialize(3);
  const TemporaryFolder folder;
  export_backbone(Naming::kTransformers, config, stored_state(*net), folder / "file", kExport);
  const SafetensorsFile file(folder / "file" / "model.safetensors");
  for (const std::string prefix : {"", "teacher.", "model."}) {
    NamedTensors memory;
    for (const auto& [name, view] : file.tensors()) {
      ASSERT_TRUE(names.contains(name)) << name;
      memory.push_back({prefix + names[name][0].get<std::string>(), to_tensor(view)});
    }
    write_safetensors(folder / "memory.safetensors", tensor_views(memory));
    const ImportedBackbone imported = import_backbone(folder / "memory.safetensors", at::kFloat);
    EXPECT_EQ(imported.recognized.prefix, prefix);
    ASSERT_EQ(imported.backbone->parameters().size(), net->parameters().size());
    for (size_t i = 0; i < net->parameters().size(); ++i)
      EXPECT_TRUE(at::equal(imported.backbone->parameters()[i].tensor, net->parameters()[i].tensor)) << net->parameters()[i].name;
  }
}

// lightly trains nn.Sequential(*list(resnet.children())[:-1]): torchvision's ResNet, or its own for small images with other names of
// shortcuts.
TEST(ForeignWeights, SequentialResNets) {
  for (const bool small : {false, true}) {
    for (const char* arch : {"resnet18", "resnet50"}) {
      SCOPED_TRACE(fmt::format("{} {}", arch, small));
      ResNetConfig config = resnet_config(arch);
      config.width = 8;
      config.small_image_stem = small;
      const auto net = make_backbone(config, at::kFloat);
      net->initialize(3);
      NamedTensors sequential{{"student_head.layers.0.weight", at::ones({2, 2})}};
      for (const auto& [name, tensor] : stored_state(*net)) {
        std::string part = name.substr(0, name.find('.')), rest = name.substr(part.size());
        const int stage = part.back() - '1';
        part = part == "conv1" ? "0" : part == "bn1" ? "1" : std::to_string(stage + (small ? 2 : 4));
        if (const size_t at = rest.find(".downsample."); small && at != std::string::npos) rest.replace(at, 12, ".shortcut.");
        sequential.push_back({"teacher_backbone." + part + rest, tensor});
        sequential.push_back({"student_backbone." + part + rest, tensor + 1});
      }
      const TemporaryFolder folder;
      write_safetensors(folder / "lightly.safetensors", tensor_views(sequential));
      const ImportedBackbone imported = import_backbone(folder / "lightly.safetensors", at::kFloat);
      EXPECT_EQ(imported.recognized.prefix, "teacher_backbone.");
      const auto& found_config = std::get<ResNetConfig>(imported.recognized.config);
      EXPECT_EQ(found_config.depths, config.depths);
      EXPECT_EQ(found_config.small_image_stem, small);
      const NamedTensors expected = stored_state(*net), found = stored_state(*imported.backbone);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(at::equal(found[i].tensor, expected[i].tensor)) << found[i].name;
    }
  }
}

// What a user sees of quantised weights: the types by name, before anything is built.
TEST(ForeignWeights, QuantisedWeightsAreNamed) {
  const TemporaryFolder folder;
  VisionTransformer vit(family_vit({"", "dinov2", false}), at::kFloat);
  vit.initialize(1);
  for (const DType type : {DType::kF8E4M3, DType::kF8E5M2, DType::kI8, DType::kU8, DType::kBool, DType::kC64}) {
    std::map<std::string, TensorView> views = tensor_views(vit.parameters());
    std::vector<std::byte> bytes(1 << 20);
    TensorView& one = views.at("blocks.1.attn.qkv.weight");
    one = {type, one.shape, std::span(bytes).first(contiguous_bytes("", type, one.shape))};
    write_safetensors(folder / "quantised.safetensors", views);
    const std::string message = message_of([&] { import_backbone(folder / "quantised.safetensors", at::kFloat, {.heads = 3}); });
    EXPECT_THAT(message, testing::HasSubstr(fmt::format("blocks.1.attn.qkv.weight ({})", dtype_name(type))));
    EXPECT_THAT(message, testing::Not(testing::HasSubstr("defect of the program")));
  }
}

// A file that says it holds a network of petabytes is refused by its numbers, not by memory.
TEST(ForeignWeights, AnUntrueDescriptionCostsNoMemory) {
  const TemporaryFolder folder;
  const std::string vit = R"({"kind":"vit","dim":)";
  for (const std::string description :
       {vit + R"(8388608,"depth":12,"heads":8})", vit + R"(64,"depth":1,"heads":1,"image_size":16384,"patch_size":1})",
        vit + R"(64,"depth":1,"heads":1,"mlp_ratio":1e9})", vit + R"(64,"depth":1,"heads":1,"ffn_hidden":2147483647})",
        vit + R"(64,"depth":1,"heads":1,"registers":2147483647})", vit + R"(2147483647,"depth":128,"heads":1})",
        std::string(R"({"kind":"convnext","dims":[1000000,1000000,1000000,1000000]})"),
        std::string(R"({"kind":"convnext","depths":[1000000000,1,1,1]})"), std::string(R"({"kind":"resnet","width":1000000})"),
        std::string(R"({"kind":"resnet","depths":[100000000,1,1,1]})")}) {
    write_safetensors(folder / "forged.safetensors", tensor_views({{"patch_embed.proj.weight", at::ones({4, 3, 2, 2})}}),
                      {{"dinoxx.backbone", description}});
    EXPECT_THAT(message_of([&] { import_backbone(folder / "forged.safetensors", at::kFloat); }), testing::HasSubstr("numbers for a"))
        << description;
  }
  // the same without metadata: one tensor of the file gives the width of all
  write_safetensors(folder / "wide.safetensors", tensor_views({{"patch_embed.proj.weight", at::ones({1 << 20, 1, 1, 1})},
                                                               {"pos_embed", at::ones({1, 2, 1})},
                                                               {"blocks.0.norm1.weight", at::ones({1})}}));
  EXPECT_THAT(message_of([&] { import_backbone(folder / "wide.safetensors", at::kFloat); }), testing::HasSubstr("numbers for a"));
}

// Networks that transformers' classes have, though no release does. How its classes read these files: check_exports.py.
TEST(ForeignWeights, DINOv3WithoutRegistersAndIBot) {
  const TemporaryFolder folder;
  VitConfig config = family_vit({"", "dinov3", false});
  config.registers = 0;
  VisionTransformer bare(config, at::kFloat);
  fill_family(bare.parameters(), true);
  export_backbone(Naming::kTransformers, config, bare.parameters(), folder / "dinov3", kExport);
  const SafetensorsFile file(folder / "dinov3" / "model.safetensors");
  EXPECT_EQ(file.at("embeddings.register_tokens").shape, (std::vector<int64_t>{1, 0, 48}));
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / "dinov3" / "config.json"))["num_register_tokens"], 0);
  const ImportedBackbone again = import_backbone(folder / "dinov3", at::kFloat);
  ASSERT_EQ(again.backbone->parameters().size(), bare.parameters().size());
  for (size_t i = 0; i < bare.parameters().size(); ++i)
    EXPECT_TRUE(at::equal(again.backbone->parameters()[i].tensor, bare.parameters()[i].tensor)) << bare.parameters()[i].name;

  config = family_vit({"", "dino", false});
  config.mask_token = true;
  VisionTransformer ibot(config, at::kFloat);
  fill_family(ibot.parameters());
  export_backbone(Naming::kTransformers, config, ibot.parameters(), folder / "ibot", kExport);
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / "ibot" / "config.json"))["architectures"][0], "ViTModel");
  const SafetensorsFile vit_model(folder / "ibot" / "model.safetensors");
  EXPECT_TRUE(vit_model.tensors().contains("encoder.layer.0.layernorm_before.weight"));
  EXPECT_FALSE(vit_model.tensors().contains("embeddings.mask_token")) << "ViTModel is built without it";
  const ImportedBackbone features = import_backbone(folder / "ibot", at::kFloat);
  const at::Tensor images = uniform("images", {2, 3, 16, 16}).to(at::kFloat);
  EXPECT_TRUE(near("features", features.backbone->forward(images), ibot.forward(images), 1e-6));
}

}  // namespace
}  // namespace dinoxx::golden
