// Teachers that a distillation can take from elsewhere than a run of dinoxx: training checkpoints with heads.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "dinoxx/base/error.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/weights.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_run.hpp"
#include "train/start/other_weights.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class FrozenTeacher : public testing::Test {
 protected:
  // A file as the official code saves it, of a network with these settings.
  std::filesystem::path checkpoint(const std::string& settings, bool heads = true) {
    const Config config = testing_support::tiny_config("[model]\ndim = 64\nheads = 1\n[head]\nbottleneck_dim = 8\n" + settings);
    network_ = std::make_unique<Network>(make_method(config).network, at::kFloat);
    network_->initialize(9);
    NamedTensors tensors;
    for (const auto& [name, tensor] : network_->parameters())
      if (heads || name.starts_with("backbone.")) tensors.push_back({"teacher." + name, tensor});
    const std::filesystem::path path = folder_.path() / "teacher_checkpoint.safetensors";
    write_safetensors(path, tensor_views(tensors));
    return path;
  }
  // What a student gets from it.
  std::unique_ptr<Network> load(const std::filesystem::path& path, const std::string& student = "") {
    const Config config = testing_support::tiny_config("[train]\nmethod = distill\n[teacher]\ndistill = " + path.string() + "\n" + student);
    const MethodSpec spec = make_method(config);
    TrainState state(config, spec, at::kFloat);
    lines_ = load_frozen_teacher(config, spec, at::kFloat, at::kCPU, state);
    return std::move(state.frozen);
  }
  std::string refusal(const std::filesystem::path& path, const std::string& student = "") {
    try {
      load(path, student);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  }
  void expect_same_answers(const Network& loaded) {
    at::NoGradGuard no_grad;
    const at::Tensor images = at::arange(4 * 3 * 16 * 16, at::kFloat).mul(0.37).sin().view({4, 3, 16, 16});
    const ForwardInput input{.crops_by_size = {&images, 1}, .batch = 2, .masked_rows = at::arange(10, at::kLong)};
    const ForwardOutput found = loaded.forward(input), wanted = network_->forward(input);
    EXPECT_TRUE(at::equal(found.logits, wanted.logits));
    EXPECT_TRUE(at::equal(found.patch_logits, wanted.patch_logits));
  }

  bool has_weight_norm(const std::filesystem::path& path) const {
    return frozen_teacher_has_weight_norm(
        testing_support::tiny_config("[train]\nmethod = distill\n[teacher]\ndistill = " + path.string() + "\n"));
  }

  testing_support::TemporaryFolder folder_;
  std::vector<std::string> lines_;
  std::unique_ptr<Network> network_;
};

TEST_F(FrozenTeacher, OfDinosCheckpoint) {
  const auto path = checkpoint("");
  EXPECT_TRUE(has_weight_norm(path));
  expect_same_answers(*load(path));
}

TEST_F(FrozenTeacher, OfDinov2sWithTwoHeads) {
  const auto path =
      checkpoint("[train]\nmethod = dinov2\n[model]\nstyle = dinov2\ndepth = 3\n[head]\nshared = no\npatch_out_dim = 24\nlayers = 2\n");
  expect_same_answers(*load(path, "[head]\nshared = no\npatch_out_dim = 24\n"));
  EXPECT_THAT(refusal(path), AllOf(HasSubstr("head.patch_out_dim"), HasSubstr("24, as the teacher")));
  EXPECT_THAT(refusal(path, "[head]\nout_dim = 32\n"), AllOf(HasSubstr("head.out_dim"), HasSubstr("48, as the teacher")));
}

TEST_F(FrozenTeacher, OfDinov3sPlainLastLayer) {
  const auto path = checkpoint("[train]\nmethod = dinov3\n[model]\nstyle = dinov3\n[head]\nlayers = 1\n");
  EXPECT_FALSE(has_weight_norm(path));
  expect_same_answers(*load(path, "[head]\nshared = no\n"));
}

TEST_F(FrozenTeacher, WithoutHeadsIsRefused) {
  EXPECT_THAT(refusal(checkpoint("", /*heads=*/false)),
              AllOf(HasSubstr("teacher.distill"), HasSubstr("a backbone alone"), HasSubstr("distill_features")));
}

TEST_F(FrozenTeacher, HasTheFactsThatAreSaidOfIt) {
  const auto path = checkpoint("");
  const auto heads = [&](const std::string& student = "") { return std::get<VitConfig>(load(path, student)->backbone().config()).heads; };
  const auto beside = [&](const char* name, const char* text) { std::ofstream(folder_.path() / name) << text; };
  EXPECT_EQ(heads(), 1);
  EXPECT_THAT(lines_, Contains(AllOf(HasSubstr("teacher.facts: heads"), Not(HasSubstr("--model.heads")))));
  EXPECT_EQ(heads("[teacher]\nfacts = heads=4 norm_eps=1e-5\n"), 4);
  EXPECT_THAT(lines_, Contains(AllOf(HasSubstr("heads 4 (option or key)"), HasSubstr("norm_eps 1e-05"))));
  beside("config.json", R"({"num_attention_heads": 2, "layer_norm_eps": 1e-6})");
  EXPECT_EQ(heads(), 2);
  EXPECT_THAT(lines_, Contains(HasSubstr("heads 2 (config.json)")));
  EXPECT_THAT(refusal(path, "[teacher]\nfacts = heads=4\n"),
              AllOf(HasSubstr("heads"), HasSubstr("2, as config.json says"), HasSubstr("found 4")));
  EXPECT_THAT(refusal(path, "[teacher]\nfacts = depth=4\n"), AllOf(HasSubstr("teacher.facts"), HasSubstr("depth=4")));
}

TEST_F(FrozenTeacher, HasTheStudentsInput) {
  const auto path = checkpoint("");
  std::ofstream(folder_.path() / "preprocessor_config.json") << R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})";
  EXPECT_THAT(refusal(path),
              AllOf(HasSubstr("model.mean"), HasSubstr("0.5,0.5,0.5, as the teacher"), HasSubstr("preprocessor_config.json")));
  EXPECT_EQ(refusal(path, "[model]\nmean = 0.5\nstd = 0.5\n"), "accepted");
  EXPECT_EQ(refusal(path, "[teacher]\nfacts = mean=0.485,0.456,0.406 std=0.229,0.224,0.225\n"), "accepted");
}

TEST_F(FrozenTeacher, OfARunIsNotAnotherNetworkByItsConfigJson) {
  const Config config = testing_support::tiny_config("");
  network_ = std::make_unique<Network>(make_method(config).network, at::kFloat);
  network_->initialize(9);
  NamedTensors tensors;
  for (const auto& [name, tensor] : network_->parameters()) tensors.push_back({name, tensor});
  const std::filesystem::path path = folder_.path() / "teacher.safetensors";
  write_safetensors(path, tensor_views(tensors), {{kConfigKey, print_config(config)}});
  EXPECT_EQ(refusal(path), "accepted");
  EXPECT_EQ(refusal(path, "[teacher]\nfacts = norm_eps=0.5\n").substr(0, 5), path.string().substr(0, 5));
  std::ofstream(folder_.path() / "config.json") << R"({"layer_norm_eps": 0.25})";
  EXPECT_THAT(refusal(path), AllOf(HasSubstr("norm_eps"), HasSubstr("config.json")));
}

// A student of features alone has any backbone as its teacher, with the teacher's width.
TEST_F(FrozenTeacher, OfFeaturesIsABareBackbone) {
  for (const bool heads : {false, true}) {
    const std::filesystem::path path = checkpoint("", heads);
    const std::string text = "[train]\nmethod = distill_features\n[views]\nlocal_count = 0\n[teacher]\ndistill = " + path.string() + "\n";
    EXPECT_EQ(frozen_teacher_width(testing_support::tiny_config(text)), 64);
    const auto load_for = [&](const std::string& more) {
      const Config config = testing_support::tiny_config(text + more);
      const MethodSpec spec = make_method(config);
      TrainState state(config, spec, at::kFloat);
      lines_ = load_frozen_teacher(config, spec, at::kFloat, at::kCPU, state);
      return std::move(state.frozen);
    };
    const std::unique_ptr<Network> loaded = load_for("[head]\nout_dim = 64\n");
    at::NoGradGuard no_grad;
    const at::Tensor images = at::arange(4 * 3 * 16 * 16, at::kFloat).mul(0.37).sin().view({4, 3, 16, 16});
    const ForwardInput input{.crops_by_size = {&images, 1}, .batch = 2, .patches = true};
    const ForwardOutput found = loaded->forward(input), wanted = network_->forward(input);
    EXPECT_TRUE(at::equal(found.features, wanted.features));
    EXPECT_TRUE(at::equal(found.patches, wanted.patches));
    EXPECT_FALSE(found.logits.defined());
    EXPECT_THAT(lines_.front(), HasSubstr("vision transformer, width 64"));
    EXPECT_THAT([&] { load_for("[head]\nout_dim = 48\n"); },
                testing::ThrowsMessage<UsageError>(AllOf(HasSubstr("head.out_dim: expected 64"), HasSubstr("found 48"))));
    EXPECT_THAT([&] { load_for("[head]\nout_dim = 64\n[model]\npatch_size = 3\n[views]\nglobal_size = 15\n"); },
                testing::ThrowsMessage<UsageError>(AllOf(HasSubstr("views.global_size: expected a multiple of 4"), HasSubstr("found 15"))));
  }
}

}  // namespace
}  // namespace dinoxx
