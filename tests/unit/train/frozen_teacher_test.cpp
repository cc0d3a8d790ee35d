// Teachers that a distillation can take from elsewhere than a run of dinoxx: training checkpoints with heads.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "dinoxx/base/error.hpp"
#include "model/weights/weights.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_run.hpp"
#include "train/start/other_weights.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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
    const Config config = testing_support::tiny_config("[train]\nmethod = distill\n[teacher]\ndistill = there\n" + student);
    const MethodSpec spec = make_method(config);
    TrainState state(config, spec, at::kFloat);
    load_frozen_teacher(path, spec, at::kFloat, at::kCPU, state);
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

  testing_support::TemporaryFolder folder_;
  std::unique_ptr<Network> network_;
};

TEST_F(FrozenTeacher, OfDinosCheckpoint) {
  const auto path = checkpoint("");
  EXPECT_TRUE(frozen_teacher_has_weight_norm(path));
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
  EXPECT_FALSE(frozen_teacher_has_weight_norm(path));
  expect_same_answers(*load(path, "[head]\nshared = no\n"));
}

TEST_F(FrozenTeacher, WithoutHeadsIsRefused) {
  EXPECT_THAT(refusal(checkpoint("", /*heads=*/false)),
              AllOf(HasSubstr("teacher.distill"), HasSubstr("a backbone alone"), HasSubstr("model.init_from")));
}

}  // namespace
}  // namespace dinoxx
