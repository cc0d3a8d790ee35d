// Which network of a file is taken, and what a config.json beside it says. Names and values: tests/golden/model/published_test.cpp.
#include <gmock/gmock.h>

#include <algorithm>
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

// torch.save of the official code's distillation: the teacher is the large frozen network, model_ema what is trained.
TEST(ChosenBackbone, OfADistillationIsWhatWasTrained) {
  EXPECT_EQ(taken({"model.gram_teacher.backbone.", "model.model_ema.backbone.", "model.student.backbone.", "model.teacher.backbone."}),
            "model.model_ema.backbone.");
  EXPECT_EQ(taken({"model_ema.backbone.", "student.backbone.", "teacher.backbone."}), "model_ema.backbone.");
  EXPECT_EQ(taken({"student_backbone.", "teacher_backbone."}), "teacher_backbone.") << "lightly";
  EXPECT_EQ(taken({"state_dict.", "state_dict_ema."}), "state_dict_ema.") << "timm";
  EXPECT_EQ(taken({"student_backbone.", "teacher_backbone."}, "student"), "student_backbone.");
  EXPECT_EQ(taken({"model.", "model_ema."}, "model"), "model.") << "a whole word before a part of one";
}

TEST(ChosenBackbone, IsNamedBesideTheOthers) {
  const TemporaryFolder folder;
  const VisionTransformer vit(small_vit(), at::kFloat);
  NamedTensors all;
  for (const char* prefix : {"model_ema.backbone.", "student.backbone.", "teacher.backbone."})
    for (const auto& [name, tensor] : vit.parameters()) all.push_back({prefix + name, tensor});
  write_safetensors(folder / "model.safetensors", tensor_views(all));
  const WeightFile file = WeightFile::open(folder.path(), FileAccess::kHeader);
  EXPECT_THAT(recognize(file).notes,
              testing::Contains(testing::AllOf(HasSubstr("\"model_ema.backbone.\" is taken"), HasSubstr("\"student.backbone.\""),
                                               HasSubstr("\"teacher.backbone.\""))));
  EXPECT_THAT(recognize(file, {.key = "student"}).notes, testing::Not(testing::Contains(HasSubstr("is taken")))) << "the user knows";
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

// Whatever reads the file prints these: no name of a stranger's file may steer the terminal.
TEST(Names, CannotSteerATerminal) {
  const TemporaryFolder folder;
  const VisionTransformer vit(small_vit(), at::kFloat);
  NamedTensors all;
  for (const char* prefix : {"\x1b]0;x\x07teacher.",
                             "stu\xc2\x9b"
                             "dent\n."})
    for (const auto& [name, tensor] : vit.parameters()) all.push_back({prefix + name, tensor});
  write_safetensors(folder / "model.safetensors", tensor_views(all));
  const WeightFile file = WeightFile::open(folder.path(), FileAccess::kHeader);
  const Recognized r = recognize(file, {.key = "\\x1b]0;x\\x07teacher."});
  const auto plain = [](const std::string& text) {
    return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; }) &&
           text.find("\xc2\x9b") == std::string::npos;
  };
  EXPECT_TRUE(plain(r.prefix)) << r.prefix;
  for (const WeightEntry& entry : file.entries()) EXPECT_TRUE(plain(entry.name)) << entry.name;
  for (const std::string& note : r.notes) EXPECT_TRUE(plain(note)) << note;
  try {
    recognize(file, {.key = "none\x1b[2J"});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_TRUE(plain(error.what())) << error.what();
  }
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
