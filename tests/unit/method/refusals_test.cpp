// Combinations that cannot train are refused at start-up by name; every recipe in configs/ is none of them.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

#include "dinoxx/core/error.hpp"
#include "dinoxx/core/files.hpp"
#include "dinoxx/method/method.hpp"
#include "tiny_run.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

// What start-up does with a configuration: two crops of 16 pixels, two of 8, patches of 4, batches of 12.
std::string start(const std::string& text, int64_t batch = 12, int ranks = 1) {
  return refusal([&] {
    const Config config = testing_support::tiny_config(text);
    const MethodSpec spec = make_method(config);
    check_batch(spec, config, batch, ranks);
    Schedules(config, 60);
  });
}

std::string changed(const std::string& text, const std::function<void(MethodSpec&)>& change) {
  MethodSpec spec = make_method(testing_support::tiny_config(text));
  EXPECT_EQ(refusal([&] { check_method(spec); }), "accepted") << text;
  change(spec);
  return refusal([&] { check_method(spec); });
}

constexpr const char* kTwoViews = "[views]\nlocal_count = 0\nprofile = dino-v1\n";

TEST(Refusals, AllMethodsStart) {
  for (const char* method : {"dino", "ibot", "dinov2", "dinov3", "distill", "byol", "simclr"}) {
    const bool two = method == std::string("byol") || method == std::string("simclr");
    EXPECT_EQ(start(fmt::format("{}[train]\nmethod = {}\n[teacher]\ndistill = somewhere\n", two ? kTwoViews : "", method)), "accepted")
        << method;
  }
}

TEST(Refusals, MasksThatAreMissing) {
  EXPECT_THAT(start("[train]\nmethod = ibot\n[mask]\nscheme = none\n[loss]\npatch_weight = 1\n"),
              AllOf(HasSubstr("loss.patch_weight"), HasSubstr("mask.scheme = none")));
  EXPECT_THAT(start("[train]\nmethod = ibot\n[mask]\nscheme = none\n"), AllOf(HasSubstr("loss.patch_weight"), HasSubstr("method = dino")));
  EXPECT_THAT(start("[train]\nmethod = ibot\n[loss]\npatch_weight = 0\n"), HasSubstr("loss.patch_weight"));
  EXPECT_EQ(start("[train]\nmethod = dinov2\n[mask]\nscheme = none\n"), "accepted");
  EXPECT_THAT(changed("[train]\nmethod = ibot\n", [](MethodSpec& s) { s.masks.reset(); }),
              AllOf(HasSubstr("method ibot, loss term patch"), HasSubstr("mask.scheme")));
  EXPECT_THAT(changed("[train]\nmethod = dinov2\n", [](MethodSpec& s) { s.network.backbone = ResNetConfig{}; }),
              AllOf(HasSubstr("method dinov2, loss term patch"), HasSubstr("mask token")));
}

TEST(Refusals, MasksThatCannotBe) {
  const std::string ibot = "[train]\nmethod = ibot\n", dinov2 = "[train]\nmethod = dinov2\n";
  EXPECT_THAT(start(ibot + "[mask]\nprobability = 0.3\n"), AllOf(HasSubstr("mask.probability"), HasSubstr("0.3")));
  EXPECT_EQ(start(ibot + "[mask]\nprobability = 1\n"), "accepted");
  EXPECT_THAT(start(dinov2 + "[mask]\nratio_min = 0.6\n"), AllOf(HasSubstr("mask.ratio_min"), HasSubstr("0.6 and 0.5")));
  EXPECT_THAT(start(dinov2 + "[mask]\nratio_min = 0.01\nratio_max = 0.02\n"), AllOf(HasSubstr("mask ratio"), HasSubstr("16 patches")));
  EXPECT_THAT(start(dinov2 + "[mask]\ngroup_size = 4\n", 6, 2), AllOf(HasSubstr("mask group size"), HasSubstr("6 images")));
  EXPECT_THAT(start(dinov2 + "[views]\nlocal_size = 16\n"), AllOf(HasSubstr("views.local_size"), HasSubstr("masked")));
  EXPECT_EQ(start("[views]\nlocal_size = 16\n"), "accepted");
}

TEST(Refusals, PatchesOfAConvolutionalNetwork) {
  const auto resnet = [](const std::string& text) {
    return refusal([&] {
      Config config = default_config();
      apply_settings(config, parse_settings("[model]\narch = resnet18\n[views]\nglobal_size = 32\nlocal_size = 16\n" + text, "resnet"));
      make_method(resolve_config(config, 1000, 1));
    });
  };
  EXPECT_EQ(resnet(""), "accepted");
  EXPECT_EQ(resnet("[train]\nmethod = dinov2\n"), "accepted");  // what is left of it: DINO with KoLeo
  EXPECT_THAT(resnet("[train]\nmethod = ibot\n"), HasSubstr("loss.patch_weight"));
  EXPECT_THAT(resnet("[mask]\nscheme = dinov2\n"), AllOf(HasSubstr("mask.scheme"), HasSubstr("resnet18")));
  EXPECT_THAT(resnet("[gram]\nweight = 1\n"), AllOf(HasSubstr("gram.weight"), HasSubstr("resnet18")));
}

TEST(Refusals, GramTeachers) {
  const std::string gram = "[train]\nmethod = dinov3\n[gram]\nweight = 1\n";
  EXPECT_EQ(start(gram), "accepted");
  EXPECT_EQ(start(gram + "teacher = ema\n"), "accepted");
  EXPECT_THAT(changed(gram, [](MethodSpec& s) { s.gram.reset(); }),
              AllOf(HasSubstr("method dinov3, loss term gram"), HasSubstr("gram.teacher")));
  // no file, and the snapshot comes later than the loss
  EXPECT_THAT(start(gram + "start = 2it\nfirst = 5it\n"), AllOf(HasSubstr("gram.first"), HasSubstr("gram.start = 2 steps")));
  EXPECT_EQ(start(gram + "start = 5it\nfirst = 2it\n"), "accepted");
  EXPECT_EQ(start(gram + "start = 2it\nfirst = 5it\nteacher = somewhere\n"), "accepted");
  EXPECT_THAT(start(gram + "teacher = ema\nsize = 32\n"), AllOf(HasSubstr("gram.size"), HasSubstr("ema")));
  EXPECT_THAT(start(gram + "size = 12\n"), AllOf(HasSubstr("gram.size"), HasSubstr("views.global_size")));
  EXPECT_EQ(start(gram + "size = 32\n"), "accepted");
}

TEST(Refusals, GramTokens) {
  const std::string gram = "[gram]\nweight = 1\n", masked = "tokens = masked\n";
  EXPECT_THAT(start("[train]\nmethod = dinov3\n" + gram + masked), AllOf(HasSubstr("gram.tokens"), HasSubstr("gram.group_size")));
  EXPECT_EQ(start("[train]\nmethod = dinov3\n" + gram + masked + "group_size = 3\n"), "accepted");
  EXPECT_THAT(start("[train]\nmethod = dinov3\n" + gram + "group_size = 5\n"), AllOf(HasSubstr("gram.group_size"), HasSubstr("12 images")));
  EXPECT_THAT(start(gram + masked + "group_size = 3\n"), AllOf(HasSubstr("method dino, loss term gram"), HasSubstr("masks")));
  EXPECT_THAT(start("[train]\nmethod = distill\n[teacher]\ndistill = somewhere\n" + gram + masked + "group_size = 3\n"),
              AllOf(HasSubstr("gram.tokens"), HasSubstr("sees every patch")));
}

TEST(Refusals, TooFewImages) {
  const std::string sinkhorn = "[loss]\ncentring = sinkhorn\n";
  EXPECT_THAT(start(sinkhorn, 1, 1), AllOf(HasSubstr("loss.centring"), HasSubstr("Sinkhorn-Knopp"), HasSubstr("found 2")));
  EXPECT_EQ(start(sinkhorn, 1, 2), "accepted");
  const std::string koleo = "[train]\nmethod = dinov2\n[mask]\ngroup_size = 1\n[loss]\n";
  EXPECT_THAT(start(koleo, 1, 12), AllOf(HasSubstr("KoLeo"), HasSubstr("at least two images")));
  EXPECT_EQ(start(koleo + "koleo_group = 6\n", 1, 12), "accepted");
  EXPECT_EQ(start(koleo + "koleo_weight = 0\n", 1, 12), "accepted");
  EXPECT_THAT(start(koleo + "koleo_group = 5\n", 6, 2), AllOf(HasSubstr("KoLeo"), HasSubstr("groups of 5")));
  EXPECT_THAT(start(koleo + "koleo_group = 3\nkoleo_top_k = 3\n", 6, 2), AllOf(HasSubstr("KoLeo"), HasSubstr("neighbours")));
}

TEST(Refusals, ViewsOfByolAndSimclr) {
  for (const char* method : {"byol", "simclr"}) {
    const std::string name = fmt::format("[train]\nmethod = {}\n", method);
    EXPECT_THAT(start(name), AllOf(HasSubstr(fmt::format("view profile {}", method)), HasSubstr("no local crops"))) << method;
    EXPECT_THAT(start(name + "[views]\nprofile = dino-v1\n"), AllOf(HasSubstr(fmt::format("method {0}, loss term {0}", method)),
                                                                    HasSubstr("4 views"), HasSubstr("views.local_count = 0")))
        << method;
  }
  EXPECT_THAT(changed(std::string(kTwoViews) + "[train]\nmethod = byol\n", [](MethodSpec& s) { s.network.predictor.reset(); }),
              AllOf(HasSubstr("method byol, loss term byol"), HasSubstr("predictor")));
  EXPECT_THAT(changed(std::string(kTwoViews) + "[train]\nmethod = byol\n", [](MethodSpec& s) { s.teacher = TeacherPolicy::kNone; }),
              AllOf(HasSubstr("method byol, loss term byol"), HasSubstr("teacher")));
}

TEST(Refusals, DistillationWithoutATeacher) {
  EXPECT_THAT(start("[train]\nmethod = distill\n"), AllOf(HasSubstr("teacher.distill"), HasSubstr("frozen teacher")));
}

// With the number of ranks that the file's command has, on a set of the size of ImageNet's.
TEST(Recipes, StartWithTheirOwnCommand) {
  std::set<std::string> methods;
  for (const auto& entry : std::filesystem::directory_iterator(DINOXX_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".cfg") continue;
    const std::string text = read_text(entry.path());
    std::smatch ranks;
    ASSERT_TRUE(std::regex_search(text, ranks, std::regex("#   mpirun -n ([0-9]+) dinoxx train --config configs/(\\S+\\.cfg)")))
        << entry.path();
    EXPECT_EQ(ranks[2].str(), entry.path().filename().string()) << "the command names another file";
    const int world = std::stoi(ranks[1]);
    EXPECT_EQ(refusal([&] {
                Config config = default_config();
                apply_settings(config, read_settings(entry.path()));
                config = resolve_config(config, 1'281'167, 2);
                EXPECT_EQ(config.train.batch_size % world, 0) << entry.path();
                check_batch(make_method(config), config, config.train.batch_size / world, world);
                Schedules(config, 1'281'167);
                methods.insert(config.train.method);
              }),
              "accepted")
        << entry.path();
  }
  EXPECT_EQ(methods.size(), method_table().size()) << "a method has no recipe";
}

}  // namespace
}  // namespace dinoxx
