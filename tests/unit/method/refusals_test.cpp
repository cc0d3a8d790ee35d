// Combinations that cannot train are refused at start-up by name; every recipe in configs/ is none of them.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

#include "base/files.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_config.hpp"
#include "method/method.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "model/heads/head_config.hpp"
#include "source_dir.hpp"
#include "tiny_run.hpp"
#include "train/start/students.hpp"
#include "train/training_config.hpp"

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
    check_batch(spec, batch, ranks);
    Schedules(config, 60);
  });
}

std::string changed(const std::string& text, const std::function<void(MethodSpec&)>& change) {
  MethodSpec spec = make_method(testing_support::tiny_config(text));
  EXPECT_EQ(refusal([&] { check_method(spec); }), "accepted") << text;
  change(spec);
  return refusal([&] { check_method(spec); });
}

// The key that distillation must have and no other method may.
std::string frozen_teacher(const std::string& method) {
  return find_method(method).teacher == TeacherPolicy::kFrozen ? "[teacher]\ndistill = somewhere\n" : "";
}

constexpr const char* kTwoViews = "[views]\nlocal_count = 0\nprofile = dino-v1\n";

// Of two views and no local crops.
std::vector<std::string> two_view_methods() {
  std::vector<std::string> names;
  for (const Method& method : methods())
    if (method.defaults.local_count == 0 && method.teacher != TeacherPolicy::kFrozen) names.push_back(method.name);
  return names;
}

TEST(Refusals, AllMethodsStart) {
  ASSERT_THAT(two_view_methods(), testing::SizeIs(testing::Ge(2)));
  for (const Method& method : methods())
    EXPECT_EQ(start(fmt::format("{}[train]\nmethod = {}\n{}", method.defaults.local_count == 0 ? kTwoViews : "", method.name,
                                frozen_teacher(method.name))),
              "accepted")
        << method.name;
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

TEST(Refusals, ImagesOfAnEvaluationThatTheNetworkCannotSee) {
  EXPECT_EQ(start("[eval]\nimage_size = 20\n"), "accepted");
  EXPECT_THAT(start("[eval]\nimage_size = 18\n"), AllOf(HasSubstr("eval.image_size"), HasSubstr("a multiple of model.patch_size = 4")));
  EXPECT_THAT(start("[model]\narch = resnet18\ndim = auto\ndepth = auto\n[eval]\nimage_size = 6\n"),
              AllOf(HasSubstr("eval.image_size"), HasSubstr("at least 8 pixels for resnet18")));
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
  const std::string untrained = "[train]\nmethod = dinov3\n[gram]\nweight = 1\n";
  // its own network as it is at step 0 teaches something only where it begins with trained weights
  EXPECT_THAT(start(untrained), AllOf(HasSubstr("gram.teacher"), HasSubstr("random"), HasSubstr("model.init_from")));
  EXPECT_THAT(start(untrained + "first = 0.1ep\n"), HasSubstr("gram.teacher")) << "a tenth of five steps is none";
  EXPECT_THAT(start(untrained + "start = 5it\nevery = 2it\n"), HasSubstr("gram.teacher"));
  for (const char* legal : {"teacher = ema\n", "teacher = somewhere\n", "start = 5it\nfirst = 2it\n", "[model]\ninit_from = somewhere\n"})
    EXPECT_EQ(start(untrained + legal), "accepted") << legal;
  const std::string gram = "[model]\ninit_from = somewhere\n" + untrained;
  EXPECT_EQ(start(gram), "accepted");
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
  const std::string gram = "[gram]\nweight = 1\nteacher = ema\n", masked = "tokens = masked\n";
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
  // 24 crops of 16 patches, half of them masked: 12 masks of one patch each; without masks for the CLS token alone
  const std::string patches = "[mask]\ngroup_size = 1\nratio_min = 0.0625\nratio_max = 0.0625\n[loss]\npatch_centring = sinkhorn\n";
  for (const char* method : {"dinov2", "dinov3"}) {
    const std::string text = fmt::format("[train]\nmethod = {}\n{}centring = centre\nkoleo_weight = 0\n", method, patches);
    EXPECT_EQ(start(text, 12, 1), "accepted") << method;
    EXPECT_EQ(start(text, 1, 4), "accepted") << method;
    EXPECT_THAT(start(text, 3, 1), AllOf(HasSubstr("loss.patch_centring"), HasSubstr("Sinkhorn-Knopp"), HasSubstr("found 3"))) << method;
    EXPECT_EQ(start(text + "patch_weight = 0\n", 3, 1), "accepted") << method;
    EXPECT_EQ(start(std::regex_replace(text, std::regex("sinkhorn"), "centre"), 3, 1), "accepted") << method;
  }
  const std::string ibot = "[train]\nmethod = ibot\n[loss]\npatch_centring = sinkhorn\n[mask]\nscheme = ibot-random\nratio_max = 0.2\n";
  EXPECT_THAT(start(ibot + "ratio_min = 0.0625\n", 3, 1), AllOf(HasSubstr("loss.patch_centring"), HasSubstr("found 3")));
  EXPECT_EQ(start(ibot + "ratio_min = 0.125\n", 3, 1), "accepted");
  for (const std::string& method : two_view_methods()) {
    const std::string text = fmt::format("{}[train]\nmethod = {}\n", kTwoViews, method);
    EXPECT_THAT(start(text, 1, 1), AllOf(HasSubstr("train.batch_size"), HasSubstr("at least two images"), HasSubstr(method))) << method;
    EXPECT_EQ(start(text, 1, 2), "accepted") << method;
  }
  const std::string subset = "[model]\nstyle = dinov2\ndrop_path_group = 4\n";
  EXPECT_THAT(start(subset, 6, 2), AllOf(HasSubstr("model.drop_path_group"), HasSubstr("6 images")));
  EXPECT_EQ(start(subset, 12, 1), "accepted");
  const std::string koleo = "[train]\nmethod = dinov2\n[mask]\ngroup_size = 1\n[loss]\n";
  EXPECT_THAT(start(koleo, 1, 12), AllOf(HasSubstr("KoLeo"), HasSubstr("at least two images")));
  EXPECT_EQ(start(koleo + "koleo_group = 6\n", 1, 12), "accepted");
  EXPECT_EQ(start(koleo + "koleo_weight = 0\n", 1, 12), "accepted");
  EXPECT_THAT(start(koleo + "koleo_group = 5\n", 6, 2), AllOf(HasSubstr("KoLeo"), HasSubstr("groups of 5")));
  EXPECT_THAT(start(koleo + "koleo_group = 3\nkoleo_top_k = 3\n", 6, 2), AllOf(HasSubstr("KoLeo"), HasSubstr("neighbours")));
}

TEST(Refusals, ViewsOfByolAndSimclr) {
  for (const std::string& method : two_view_methods()) {
    const std::string name = fmt::format("[train]\nmethod = {}\n", method);
    EXPECT_THAT(start(name),
                AllOf(HasSubstr(fmt::format("view profile {}", find_method(method).defaults.profile)), HasSubstr("no local crops")))
        << method;
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

// Several students in one job: each is refused for what it would be refused for by itself, by its name, and for what it must share.
TEST(Refusals, StudentsOfOneJob) {
  int64_t group_size = 0;
  const auto job = [&](const std::vector<std::string>& own, const std::vector<int>& ranks, int world, const std::string& common = "") {
    return refusal([&] {
      std::vector<Student> students;
      for (size_t i = 0; i < own.size(); ++i) {
        Student student{fmt::format("s{}", i), ranks[i], default_config()};
        const std::string text =
            "[model]\ndim = 32\ndepth = 2\nheads = 2\npatch_size = 4\n[views]\nglobal_size = 16\nlocal_size = 8\n"
            "[train]\nmethod = distill\nbatch_size = 12\n[teacher]\ndistill = somewhere\n";
        for (const std::string& part : {text, common, own[i]}) apply_settings(student.config, parse_settings(part, "job"));
        students.push_back(std::move(student));
      }
      for (const Config& config : resolve_students(students, world, 60, 1)) group_size = config.mask->group_size;
    });
  };
  const std::string other = "[model]\ndim = 48\n";
  EXPECT_EQ(job({"", other}, {2, 1}, 3), "accepted");
  EXPECT_EQ(group_size, 2) << "divides 6 and 12 images, and 16";
  EXPECT_THAT(job({"", other}, {2, 2}, 3), AllOf(HasSubstr("3 ranks of the job"), HasSubstr("s0 has 2, s1 has 2")));
  EXPECT_THAT(job({"", other}, {3, 2}, 5), AllOf(HasSubstr("train.batch_size"), HasSubstr("5 ranks of the job"), HasSubstr("12")));
  EXPECT_THAT(job({"", other}, {5, 1}, 6), AllOf(HasSubstr("train.batch_size"), HasSubstr("5 ranks of student s0")));
  for (const auto& [text, key] : std::vector<std::pair<std::string, std::string>>{{"[model]\npatch_size = 8\n", "model.patch_size"},
                                                                                  {"[views]\nlocal_count = 1\n", "views.local_count"},
                                                                                  {"[mask]\nratio_max = 0.4\n", "mask.ratio_max"},
                                                                                  {"[train]\nseed = 1\n", "train.seed"},
                                                                                  {"[train]\nlength = 7it\n", "train.length"},
                                                                                  {"[teacher]\ndistill = elsewhere\n", "teacher.distill"},
                                                                                  {"[loss]\npatch_weight = 0\n", "loss.patch_weight"},
                                                                                  {"[checkpoint]\nevery = 3it\n", "checkpoint.every"}})
    EXPECT_THAT(job({"", text}, {2, 1}, 3), AllOf(HasSubstr("student s1, " + key), HasSubstr("as student s0 has"))) << key;
  EXPECT_EQ(job({"", "[loss]\npatch_weight = 0.5\n[optim]\nlr = 0.1\n"}, {2, 1}, 3), "accepted");
  EXPECT_THAT(job({"", "[train]\nmethod = dinov2\n"}, {2, 1}, 3), AllOf(HasSubstr("student s1, train.method"), HasSubstr("dinov2")));
  EXPECT_THAT(job({"", ""}, {2, 1}, 3, "[mask]\nscheme = none\n[loss]\npatch_weight = 1\n"),
              AllOf(HasSubstr("student s0: loss.patch_weight"), HasSubstr("mask.scheme")));
  EXPECT_THAT(job({"", "[loss]\nkoleo_weight = 1\nkoleo_group = 5\n"}, {2, 1}, 3),
              AllOf(HasSubstr("student s1: KoLeo"), HasSubstr("groups of 5")));
  EXPECT_THAT(
      job({"", ""}, {1, 1}, 2, "[loss]\nkoleo_weight = 1\npatch_centring = centre\n[train]\nbatch_size = 2\n[mask]\ngroup_size = 1\n"),
      "accepted");  // two images for each student
  EXPECT_THAT(
      job({"[loss]\nkoleo_weight = 1\n", ""}, {2, 1}, 3, "[train]\nbatch_size = 6\n[mask]\ngroup_size = 1\n[loss]\nkoleo_group = 1\n"),
      AllOf(HasSubstr("student s0: KoLeo"), HasSubstr("at least two images")));
  EXPECT_THAT(job({"[gram]\nweight = 1\nstart = 2it\nfirst = 5it\n", ""}, {2, 1}, 3), HasSubstr("student s0: gram.first"));
  // a common key that one student reads is no mistake, and the others go without it
  EXPECT_EQ(job({"[loss]\nkoleo_weight = 1\n", ""}, {2, 1}, 3, "[loss]\nkoleo_group = 3\n"), "accepted");
  EXPECT_THAT(job({"", ""}, {2, 1}, 3, "[loss]\nkoleo_group = 3\n"), HasSubstr("loss.koleo_group: expected no value"));
}

// Rules that were published together do not hang on one of them: the freeze and the weight decay are the method's.
TEST(Rules, DoNotHangOnClipping) {
  for (const auto& [method, by_name] :
       {std::pair("dino", false), std::pair("ibot", false), std::pair("dinov2", true), std::pair("distill", true)}) {
    for (const char* clip : {"parameter", "module"}) {
      const Config config = testing_support::tiny_config(
          fmt::format("[train]\nmethod = {}\n[optim]\nclip_by = {}\n{}", method, clip, frozen_teacher(method)));
      const RuleOptions rules = rule_options(config, true);
      EXPECT_EQ(rules.exclusion == DecayExclusion::kName, by_name) << method << ", " << clip;
      EXPECT_EQ(rules.last_layer == LastLayerFreeze::kZeroRate, by_name) << method << ", " << clip;
    }
  }
}

TEST(Rules, PrototypesOfEachMethod) {
  const auto head = [](const std::string& text) { return *testing_support::tiny_config(text).head; };
  EXPECT_TRUE(head("").norm_last_layer.value());
  EXPECT_FALSE(head("[train]\nmethod = dinov2\n").norm_last_layer.value());
  EXPECT_TRUE(head("[train]\nmethod = dinov2\n[head]\nnorm_last_layer = yes\n").norm_last_layer.value());
  EXPECT_TRUE(head(fmt::format("[train]\nmethod = distill\n{}", frozen_teacher("distill"))).weight_norm.value());
  EXPECT_FALSE(head("[train]\nmethod = dinov3\n").weight_norm.value());
}

// What was saved before a key was there has the method's value for it, and no other value is touched.
TEST(Rules, OlderConfigurationsAreSettled) {
  Config old = testing_support::tiny_config("[train]\nmethod = dinov3\n[head]\nhidden_dim = 40\n");
  const Config now = old;
  old.head->weight_norm.reset();
  old.head->predictor_hidden_dim.reset();
  old.loss->local_weight_end.reset();
  EXPECT_EQ(settled(old), now);
  EXPECT_EQ(settled(now), now);
}

// Refreshes of the Gram teacher in 20 steps, the first teacher of a run without a file among them.
TEST(Gram, UpdatesAreCounted) {
  const auto steps = [](const std::string& text) {
    const Schedules schedules(testing_support::tiny_config("[train]\nmethod = dinov3\n[gram]\nweight = 1\n" + text), 60);
    std::vector<int64_t> found;
    for (int64_t step = 0; step < 20; ++step)
      if (schedules.at(step, 0).refresh_gram) found.push_back(step);
    return found;
  };
  using Steps = std::vector<int64_t>;
  EXPECT_EQ(steps("start = 5it\nfirst = 5it\nevery = 2it\n"), (Steps{5, 7, 9, 11})) << "three updates behind the first teacher";
  EXPECT_EQ(steps("start = 5it\nfirst = 5it\nevery = 2it\nmax_updates = 0\n"), (Steps{5}));
  EXPECT_EQ(steps("start = 5it\nfirst = 5it\n"), (Steps{5}));
  EXPECT_EQ(steps("teacher = somewhere\nfirst = 5it\nevery = 2it\n"), (Steps{5, 7, 9}))
      << "the file's is the first, all of these are updates";
  EXPECT_EQ(steps("teacher = somewhere\nfirst = 5it\nevery = 2it\nmax_updates = 0\n"), Steps{});
  EXPECT_EQ(steps("teacher = somewhere\nevery = 2it\n"), Steps{});
}

// 60 images in batches of 12: what a run is told in any unit, in steps.
TEST(Units, OfEverySchedule) {
  const auto schedules = [](const std::string& text) { return Schedules(testing_support::tiny_config(text), 60); };
  const auto at = [](const Schedules& s, int64_t step) { return s.at(step, 12 * static_cast<uint64_t>(step)); };
  const auto frozen = [&](const std::string& text) {
    const Schedules s = schedules("[optim]\nfreeze_last_layer = " + text + "\n");
    int64_t steps = 0;
    while (at(s, steps).freeze_last_layer) ++steps;
    return steps;
  };
  EXPECT_EQ(frozen("7it"), 7);
  EXPECT_EQ(frozen("84samples"), 7);
  EXPECT_EQ(frozen("1ep"), 5);
  const auto warm = [&](const std::string& text) {
    const Schedules s = schedules("[teacher]\ntemp = 0.07\ntemp_changes = step\nwarmup_temp_epochs = " + text + "\n");
    int64_t steps = 0;
    while (at(s, steps).teacher_temp < 0.07 && steps < 40) ++steps;
    return steps;
  };
  EXPECT_EQ(warm("2"), warm("10it"));
  EXPECT_EQ(warm("2ep"), warm("10it"));
  EXPECT_EQ(warm("120samples"), warm("10it"));
  EXPECT_GT(warm("20it"), warm("10it"));
  EXPECT_EQ(schedules("[train]\nlength = 120samples\n").total_steps(), 10);
}

// The factor of the local crops' loss is the configuration's from the first step on, and moves where a second one is named.
TEST(LocalWeight, IsUsed) {
  const auto weight = [](const std::string& text, int64_t step) {
    return Schedules(testing_support::tiny_config("[loss]\nlocal_weight = 0.25\n" + text), 60).at(step, 0).local_weight;
  };
  for (const int step : {0, 1, 39}) EXPECT_EQ(weight("", step), 0.25) << step;
  const std::string moving = "local_weight_end = 0.5\n[gram]\nstart = 4it\nramp = 2it\n";
  EXPECT_EQ(weight(moving, 3), 0.25);
  EXPECT_EQ(weight(moving, 10), 0.5);
}

// With the number of ranks that the file's command has, on a set of the size of ImageNet's.
TEST(Recipes, StartWithTheirOwnCommand) {
  std::set<std::string> methods;
  for (const auto& entry : std::filesystem::directory_iterator(source_dir() / "configs")) {
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
                if (std::smatch several; std::regex_search(text, several, std::regex("--students (\\S+)"))) {
                  std::vector<Student> students = read_students(
                      std::regex_replace(several[1].str(), std::regex("configs/"), (source_dir() / "configs/").string()), config, {});
                  for (const Config& of_student : resolve_students(students, world, 1'281'167, 2)) methods.insert(of_student.train->method);
                  return;
                }
                config = resolve_config(config, 1'281'167, 2);
                EXPECT_EQ(config.train->batch_size % world, 0) << entry.path();
                check_batch(make_method(config), config.train->batch_size / world, world);
                Schedules(config, 1'281'167);
                methods.insert(config.train->method);
              }),
              "accepted")
        << entry.path();
  }
  EXPECT_EQ(methods.size(), dinoxx::methods().size()) << "a method has no recipe";
}

TEST(Activation, IsThatOfTheNetwork) {
  EXPECT_EQ(start("[model]\nactivation = gelu\n"), "accepted");
  EXPECT_THAT(start("[model]\nactivation = relu\n"), AllOf(HasSubstr("model.activation"), HasSubstr("gelu"), HasSubstr("found relu")));
}

}  // namespace
}  // namespace dinoxx
