// Weights under published names: what we export has the names, shapes and values of timm's and transformers' own files, and what we import
// gives their features.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cases.hpp"
#include "dinoxx/base/error.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"
#include "temporary_folder.hpp"

namespace dinoxx::golden {
namespace {

using testing_support::TemporaryFolder;

const ExportOptions kExport{imagenet_normalization()};

class Published : public testing::TestWithParam<FamilyCase> {};

TEST_P(Published, ExportHasTheirNamesShapesAndValues) {
  const FamilyCase& c = GetParam();
  const Fixture fixture("published");
  const nlohmann::json names = nlohmann::json::parse(fixture.metadata().at("names"));
  VisionTransformer vit(family_vit(c), at::kDouble);
  fill_family(vit.parameters(), vit.config().mask_key_bias);
  for (const Naming naming : {Naming::kOfficial, Naming::kTimm, Naming::kTransformers}) {
    const std::string key = fmt::format("{}/{}", c.name, naming_name(naming));
    SCOPED_TRACE(key);
    // SwiGLU with learned positions is no architecture that timm builds by name: the names alone are compared, through the mapping
    const TemporaryFolder folder;
    if (naming == Naming::kTimm && c.swiglu && vit.config().positions == "learned") {
      EXPECT_THROW(export_backbone(naming, vit.config(), vit.parameters(), folder / "model", kExport), UsageError);
      continue;
    }
    export_backbone(naming, vit.config(), vit.parameters(), folder / "model", kExport);
    const SafetensorsFile file(folder / "model" / "model.safetensors");
    const nlohmann::json& expected = names.at(key);
    const at::Tensor digests = fixture.tensor(key);
    ASSERT_EQ(file.tensors().size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const std::string name = expected[i][0];
      ASSERT_TRUE(file.tensors().contains(name)) << name;
      const TensorView& view = file.at(name);
      EXPECT_EQ(view.shape, expected[i][1].get<std::vector<int64_t>>()) << name;
      const at::Tensor values = to_tensor(view).to(at::kDouble).flatten();
      const double tolerance = name == "rope_embed.periods" ? 1e-6 : 1e-12;  // periods are stored as float32
      EXPECT_TRUE(near(name + " (norm)", values.norm(), digests[static_cast<int64_t>(i)][0], tolerance));
      EXPECT_NEAR((values * uniform(name, values.sizes())).sum().item<double>(), digests[static_cast<int64_t>(i)][1].item<double>(),
                  tolerance * (1 + values.norm().item<double>()))
          << name;
    }
  }
}

TEST_P(Published, ImportAfterExportIsTheIdentityAndGivesTheirFeatures) {
  const FamilyCase& c = GetParam();
  const Fixture published("published"), family("vit_family");
  VisionTransformer vit(family_vit(c), at::kDouble);
  fill_family(vit.parameters(), vit.config().mask_key_bias);
  std::map<std::string, at::Tensor> original;
  for (const auto& [name, tensor] : vit.parameters()) original[name] = tensor;
  for (const Naming naming : {Naming::kDinoxx, Naming::kOfficial, Naming::kTimm, Naming::kTransformers}) {
    SCOPED_TRACE(naming_name(naming));
    if (naming == Naming::kTimm && c.swiglu && vit.config().positions == "learned") continue;
    const TemporaryFolder folder;
    export_backbone(naming, vit.config(), vit.parameters(), folder / "model", kExport);
    const ImportedBackbone imported = import_backbone(folder / "model", at::kDouble, {.heads = 3, .image_size = 16});
    const bool sums_cls = naming == Naming::kTimm && vit.config().registers > 0 && vit.config().positions == "learned";
    size_t compared = 0;
    for (const auto& [name, tensor] : imported.backbone->parameters()) {
      if (sums_cls && (name == "cls_token" || name == "pos_embed")) continue;
      EXPECT_TRUE(at::equal(tensor, original.at(name))) << name;
      ++compared;
    }
    EXPECT_GE(compared, original.size() - 3);

    const std::string dinov1 = std::string(c.style) == "dino" ? "yes" : "";
    for (const auto& [size, height, width] : {std::tuple("native", 16, 16), std::tuple("larger", 24, 24), std::tuple("oblong", 12, 20)}) {
      const bool timm_resizes_otherwise = naming == Naming::kTimm && !dinov1.empty() && std::string(size) != "native";
      if (timm_resizes_otherwise) continue;  // its names are the official ones: a file does not say which rule is meant
      const at::Tensor images = uniform(std::string("images/") + size, {2, 3, height, width});
      const Features f = imported.backbone->forward_features({images, nullptr, {}, false});
      const at::Tensor tokens = at::cat({f.cls.unsqueeze(1), f.registers, f.patches}, 1);
      if (naming == Naming::kTimm) {
        EXPECT_TRUE(published.matches(fmt::format("{}/timm/{}/tokens", c.name, size), tokens, 1e-10));
      }
      if (naming == Naming::kTransformers && !dinov1.empty()) {
        EXPECT_TRUE(published.matches(fmt::format("{}/transformers/{}/tokens", c.name, size), tokens, 1e-10));
      }
      if (naming == Naming::kTransformers && dinov1.empty()) {
        EXPECT_TRUE(family.matches(fmt::format("{}/{}/tokens", c.name, size), tokens, 1e-10));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Styles, Published,
                         testing::Values(FamilyCase{"dino", "dino", false}, FamilyCase{"dinov2", "dinov2", false},
                                         FamilyCase{"dinov2_swiglu", "dinov2", true}, FamilyCase{"dinov2_reg", "dinov2_reg", false},
                                         FamilyCase{"dinov3", "dinov3", false}, FamilyCase{"dinov3_swiglu", "dinov3", true}),
                         [](const auto& info) { return std::string(info.param.name); });

// Training checkpoints, wrappers, chunks, several networks, what is missing.

NamedTensors with_prefix(const NamedTensors& named, const std::string& prefix) {
  NamedTensors all;
  for (const auto& [name, tensor] : named) all.push_back({prefix + name, tensor});
  return all;
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Recognize, TeacherStudentWrappersAndChunks) {
  const TemporaryFolder folder;
  VisionTransformer teacher(family_vit({"", "dinov2", false}), at::kFloat), student(family_vit({"", "dinov2", false}), at::kFloat);
  teacher.initialize(1);
  student.initialize(2);
  NamedTensors all = with_prefix(student.parameters(), "student.module.backbone.");
  for (const auto& [name, tensor] : teacher.parameters()) {
    std::string wrapped = "teacher.backbone._orig_mod." + name;
    if (const size_t at = wrapped.find("blocks."); at != std::string::npos) wrapped.insert(at + 7, "0.");
    all.push_back({wrapped, tensor});
  }
  all.push_back({"teacher.dino_head.mlp.0.weight", at::ones({2, 2})});
  write_safetensors(folder / "both.safetensors", tensor_views(all));
  const auto first = [](const ImportedBackbone& imported) { return imported.backbone->parameters().front().tensor; };
  EXPECT_TRUE(
      at::equal(first(import_backbone(folder / "both.safetensors", at::kFloat, {.heads = 3})), teacher.parameters().front().tensor));
  EXPECT_TRUE(at::equal(first(import_backbone(folder / "both.safetensors", at::kFloat, {.key = "student", .heads = 3})),
                        student.parameters().front().tensor));
  EXPECT_THAT(message_of([&] { import_backbone(folder / "both.safetensors", at::kFloat, {.key = "pupil"}); }),
              testing::HasSubstr("teacher.backbone."));
}

TEST(Recognize, NothingIsLoadedPartiallyInSilence) {
  const TemporaryFolder folder;
  VisionTransformer vit(family_vit({"", "dino", false}), at::kFloat);
  vit.initialize(1);
  NamedTensors named = vit.parameters();
  named.erase(named.begin() + 6);
  named.push_back({"blocks.1.attn.extra", at::ones({3})});
  write_safetensors(folder / "other.safetensors", tensor_views(named));
  const std::string message = message_of([&] { import_backbone(folder / "other.safetensors", at::kFloat, {.heads = 3}); });
  EXPECT_THAT(message, testing::HasSubstr("1 missing: " + vit.parameters()[6].name));
  EXPECT_THAT(message, testing::HasSubstr("1 unexpected: blocks.1.attn.extra"));
  const ImportedBackbone imported = import_backbone(folder / "other.safetensors", at::kFloat, {.heads = 3}, {true, true});
  EXPECT_THAT(imported.report.missing, testing::ElementsAre(vit.parameters()[6].name));
  EXPECT_TRUE(imported.backbone->parameters()[6].tensor.isfinite().all().item<bool>());
  write_safetensors(folder / "none.safetensors", tensor_views({{"encoder.weight", at::ones({2, 2})}}));
  EXPECT_THAT(message_of([&] { import_backbone(folder / "none.safetensors", at::kFloat); }), testing::HasSubstr("encoder.weight"));
  EXPECT_THAT(message_of([&] { export_backbone(Naming::kOfficial, vit.config(), vit.parameters(), folder / "m", kExport); }),
              testing::IsEmpty());
  EXPECT_THAT(message_of([&] { export_backbone(Naming::kOfficial, vit.config(), vit.parameters(), folder / "m", kExport); }),
              testing::HasSubstr("without a model"));
}

TEST(Recognize, ChannelsAreAdaptedByTheStatedRule) {
  const TemporaryFolder folder;
  VisionTransformer vit(family_vit({"", "dino", false}), at::kDouble);
  fill_family(vit.parameters());
  export_backbone(Naming::kOfficial, vit.config(), vit.parameters(), folder / "m", kExport);
  const at::Tensor gray = uniform("gray", {2, 1, 16, 16});
  const auto features = [&](int channels, const at::Tensor& images) {
    return import_backbone(folder / "m", at::kDouble, {.heads = 3}, {}, channels).backbone->forward(images);
  };
  // one gray channel is three equal ones; six channels, each colour twice, are the three
  EXPECT_TRUE(near("gray", features(1, gray), vit.forward(gray.expand({2, 3, 16, 16})), 1e-12));
  const at::Tensor rgb = uniform("rgb", {2, 3, 16, 16});
  EXPECT_TRUE(near("twice", features(6, at::cat({rgb, rgb}, 1)), vit.forward(rgb), 1e-12));
}

TEST(Recognize, ConvNetsComeBack) {
  for (const Naming naming : {Naming::kOfficial, Naming::kTimm, Naming::kTransformers}) {
    const TemporaryFolder folder;
    ConvNextConfig config;
    config.depths = {1, 1, 2, 1};
    config.dims = {8, 16, 24, 32};
    const auto net = make_backbone(config, at::kFloat);
    net->initialize(3);
    export_backbone(naming, config, stored_state(*net), folder / "m", kExport);
    const ImportedBackbone imported = import_backbone(folder / "m", at::kFloat);
    EXPECT_EQ(imported.recognized.naming, naming);
    for (size_t i = 0; i < net->parameters().size(); ++i)
      EXPECT_TRUE(at::equal(imported.backbone->parameters()[i].tensor, net->parameters()[i].tensor)) << net->parameters()[i].name;
  }
  const TemporaryFolder folder;
  ResNetConfig config = resnet_config("resnet18");
  config.width = 8;
  config.small_image_stem = true;
  const auto net = make_backbone(config, at::kFloat);
  net->initialize(3);
  export_backbone(Naming::kOfficial, config, stored_state(*net), folder / "m", kExport);
  const ImportedBackbone imported = import_backbone(folder / "m", at::kFloat);
  const NamedTensors expected = stored_state(*net), found = stored_state(*imported.backbone);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(at::equal(found[i].tensor, expected[i].tensor)) << expected[i].name;
}

}  // namespace
}  // namespace dinoxx::golden
