// Which network of a file is taken, and what a config.json beside it says. Names and values: tests/golden/model/published_test.cpp.
#include <gmock/gmock.h>

#include <fstream>

#include "dinoxx/base/error.hpp"
#include "model/weights/published.hpp"
#include "model/weights/weights.hpp"
#include "small_vit.hpp"
#include "temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing_support::TemporaryFolder;

/// The prefix that is taken of a file with the same network under each of `prefixes`.
std::string taken(const std::vector<std::string>& prefixes, const std::string& key = "") {
  const TemporaryFolder folder;
  const VisionTransformer vit(small_vit(), at::kFloat);
  NamedTensors all;
  for (const std::string& prefix : prefixes)
    for (const auto& [name, tensor] : vit.parameters()) all.push_back({prefix + name, tensor});
  write_safetensors(folder / "model.safetensors", tensor_views(all));
  try {
    return recognize(WeightFile::open(folder.path(), FileAccess::kHeader), {.key = key}).prefix;
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(ChosenBackbone, IsTheTeacherWhereverThePrefixSaysSo) {
  EXPECT_EQ(taken({"student.backbone.", "teacher.backbone."}), "teacher.backbone.");
  EXPECT_EQ(taken({"model.student.backbone.", "model.teacher.backbone."}), "model.teacher.backbone.") << "checkpoints of DINOv2 and v3";
  EXPECT_EQ(taken({"gram.backbone.", "student.backbone.", "teacher.backbone."}), "teacher.backbone.");
  EXPECT_EQ(taken({"model.", "model_ema."}), "model_ema.");
  EXPECT_EQ(taken({"", "other."}), "");
  EXPECT_EQ(taken({"anything.at.all."}), "anything.at.all.");
}

TEST(ChosenBackbone, IsWhatTheKeySays) {
  EXPECT_EQ(taken({"student.backbone.", "teacher.backbone."}, "student"), "student.backbone.");
  EXPECT_EQ(taken({"model.student.backbone.", "model.teacher.backbone."}, "student"), "model.student.backbone.");
  EXPECT_EQ(taken({"model.student.backbone.", "model.teacher.backbone."}, "model.student.backbone."), "model.student.backbone.");
  EXPECT_THAT(taken({"student.backbone.", "teacher.backbone."}, "pupil"), HasSubstr("student.backbone."));
}

TEST(ChosenBackbone, IsNeverAGuess) {
  EXPECT_THAT(taken({"model.a.", "model.b."}), HasSubstr("--key"));
  EXPECT_THAT(taken({"student.backbone.", "teacher.backbone."}, "backbone"), HasSubstr("\"backbone\""));
  EXPECT_THAT(taken({"one.teacher.", "two.teacher."}), HasSubstr("one.teacher."));
}

TEST(Heads, StandInTheConfigurationsOfTransformersAndTimm) {
  const VisionTransformer vit(small_vit(), at::kFloat);
  const auto heads_beside = [&](const std::string& config) {
    const TemporaryFolder folder;
    write_safetensors(folder / "model.safetensors", tensor_views(vit.parameters()));
    std::ofstream(folder / "config.json") << config;
    return std::get<VitConfig>(recognize(WeightFile::open(folder.path(), FileAccess::kHeader)).config).heads;
  };
  EXPECT_EQ(heads_beside(R"({"num_attention_heads": 4})"), 4);
  EXPECT_EQ(heads_beside(R"({"architecture": "vit_small_patch16_224", "model_args": {"num_heads": 2}})"), 2);
  for (const char* nothing : {"", "[]", R"({"model_args": [2]})", R"({"num_attention_heads": "four"})"})
    EXPECT_EQ(heads_beside(nothing), 1);
}

}  // namespace
}  // namespace dinoxx
