// What "auto" becomes, what does not fit together, and the texts that follow from the tables.
#include "method/settings/resolve.hpp"

#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_config.hpp"
#include "method/methods.hpp"
#include "method/settings/config_help.hpp"
#include "method/settings/unread_keys.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "model/model_config.hpp"
#include "optim/optim_config.hpp"
#include "source_dir.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

Config from_text(const std::string& text) {
  Config config = default_config();
  apply_settings(config, parse_settings(text, "test.cfg"));
  return config;
}

TEST(ConfigResolve, OnceIsForGood) {
  const Config config = from_text("[optim]\nlr = 0.1234567890123456\nwarmup = 2.5ep\n[train]\nlength = 5000it\nbatch_size = 96\n");
  const Config resolved = resolve_config(config, 50000, 4);
  EXPECT_EQ(from_text(print_config(resolved)), resolved);
  EXPECT_NE(resolved, config);
  EXPECT_EQ(resolve_config(resolved, 123456, 64), resolved);
}

// What each method's open values become, as it was when they stood in rows without names: bit for bit, printed.
TEST(ConfigResolve, DefaultsAreWhatTheyWere) {
  std::istringstream lines(read_text(source_dir() / "tests/unit/method/resolved_defaults.txt"));
  std::map<std::string, std::string> first, expected;
  std::string line, block;
  int blocks = 0;
  const auto compare = [&] {
    if (block.empty()) return;
    if (first.empty()) first = expected;
    ++blocks;
    std::string method, arch;
    uint64_t images = 0;
    std::istringstream(block) >> method >> arch >> images;
    const bool frozen = find_method(method).teacher == TeacherPolicy::kFrozen;
    const Config config = resolve_config(from_text(fmt::format("[model]\narch = {}\n[train]\nmethod = {}\n{}", arch, method,
                                                               frozen ? "[teacher]\ndistill = somewhere\n" : "")),
                                         images, 8, nullptr, 2);
    size_t found = 0;
    for (const Field& field : config_fields()) {
      if (!expected.contains(field.key)) continue;  // newer than the file
      ++found;
      EXPECT_EQ(field.get(config), expected[field.key]) << block << ": " << field.key;
    }
    EXPECT_EQ(found, expected.size()) << block;
  };
  while (std::getline(lines, line)) {
    if (line.starts_with('#')) continue;
    if (line.starts_with('[')) {
      compare();
      block = line.substr(1, line.size() - 2);
      expected = first;
    } else {
      const size_t equals = line.find(" = ");
      expected[line.substr(0, equals)] = line.substr(equals + 3);
    }
  }
  compare();
  EXPECT_EQ(blocks, 39);
}

TEST(ConfigResolve, FollowsTheSizeOfTheSet) {
  const Config open = default_config();
  const auto resolved = [&](uint64_t images) { return resolve_config(open, images, 8); };
  // lightly-train's rules, dino_family.md 4.2
  EXPECT_EQ(resolved(19999).head->out_dim, 1024);
  EXPECT_EQ(resolved(20000).head->out_dim, 2048);
  EXPECT_EQ(resolved(50000).head->out_dim, 4096);
  EXPECT_EQ(resolved(100000).head->out_dim, 16384);
  EXPECT_EQ(resolved(200000).head->out_dim, 32768);
  EXPECT_EQ(resolved(500000).head->out_dim, 65536);
  EXPECT_DOUBLE_EQ(resolved(5000).teacher->temp.value(), 0.02);
  EXPECT_DOUBLE_EQ(resolved(510000).teacher->temp.value(), 0.045);
  EXPECT_DOUBLE_EQ(resolved(2000000).teacher->temp.value(), 0.07);
  EXPECT_DOUBLE_EQ(resolved(2000000).teacher->warmup_temp.value(), 0.04);
  EXPECT_DOUBLE_EQ(resolved(20000).teacher->momentum.value(), 0.99);
  EXPECT_DOUBLE_EQ(resolved(1000000).teacher->momentum.value(), 0.996);
  // 100 epochs of 51200 images in batches of 256: 20000 steps, so a tenth caps the warm-up of 12500 and not the 1250 of the last layer
  const Config mid = resolved(51200);
  EXPECT_EQ(mid.optim->warmup.value(), (Duration{2000, Duration::Unit::kSteps}));
  EXPECT_EQ(mid.optim->freeze_last_layer.value(), (Duration{1250, Duration::Unit::kSteps}));
  EXPECT_EQ(mid.teacher->warmup_temp_epochs.value(), (Duration{30, Duration::Unit::kEpochs}));
  EXPECT_EQ(mid.model->dim.value(), 384);
  EXPECT_EQ(mid.model->image_size.value(), 224);
  EXPECT_EQ(mid.train->threads.value(), 8);
}

// DINOv2's and DINOv3's schedules count steps: where an epoch has more of them than the warm-up, it is a part of one.
TEST(ConfigResolve, TemperatureWarmUpInPartsOfAnEpoch) {
  for (const uint64_t images : {uint64_t{1'281'167}, uint64_t{14'197'122}, uint64_t{1'689'000'000}}) {
    const Config config = resolve_config(from_text("[train]\nmethod = dinov2\nlength = 125000it\nbatch_size = 2048\n"), images, 1);
    EXPECT_EQ(config.teacher->warmup_temp_epochs->steps(images, 2048), 37500) << images;
    EXPECT_EQ(from_text(print_config(config)), config);
  }
  for (const char* part : {"0.5", "0.5ep", "600it", "64000samples"}) {
    const std::string text = fmt::format("[teacher]\nwarmup_temp_epochs = {}\n", part);
    EXPECT_NO_THROW(resolve_config(from_text(text + "[train]\nmethod = dinov2\n"), 1000, 1)) << part;
    try {
      resolve_config(from_text(text), 1000, 1);
      FAIL() << "accepted " << part;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("teacher.warmup_temp_epochs"), HasSubstr("whole epochs"), HasSubstr(part)));
    }
  }
}

// One factor for the whole run where no second one is named.
TEST(ConfigResolve, TheLocalWeightStaysUnlessToldOtherwise) {
  const auto end = [](const std::string& text) { return *resolve_config(from_text("[loss]\n" + text), 1000, 1).loss->local_weight_end; };
  EXPECT_EQ(end(""), 1);
  EXPECT_EQ(end("local_weight = 0.25\n"), 0.25);
  EXPECT_EQ(end("local_weight = 0.25\nlocal_weight_end = 0.5\n"), 0.5);
}

TEST(ConfigResolve, KeepsWhatWasSetAndSaysWhatItChose) {
  Config config = default_config();
  config.head->out_dim = 77;
  std::vector<std::string> notes;
  const Config resolved = resolve_config(config, 5000, 2, &notes);
  EXPECT_EQ(resolved.head->out_dim, 77);
  EXPECT_THAT(notes, testing::Contains(testing::AllOf(HasSubstr("teacher.temp = 0.02"), HasSubstr("(for 5000 images)"))));
  EXPECT_THAT(notes, testing::Not(testing::Contains(HasSubstr("head.out_dim"))));
}

// A part that a run has not is not spoken of.
TEST(ConfigResolve, SaysNothingOfKeysThatTheRunDoesNotRead) {
  for (const Method& method : methods()) {
    std::vector<std::string> notes;
    const bool frozen = method.teacher == TeacherPolicy::kFrozen;
    const Config config = resolve_config(
        from_text(fmt::format("[train]\nmethod = {}\n{}", method.name, frozen ? "[teacher]\ndistill = somewhere\n" : "")), 5000, 2, &notes);
    const std::string all = fmt::format("{}", fmt::join(notes, "\n"));
    EXPECT_EQ(all.find("teacher.momentum") != std::string::npos, method.teacher != TeacherPolicy::kNone) << method.name << ": " << all;
    for (const Field& field : config_fields()) {
      if (why_unread(field, config)) EXPECT_EQ(all.find(field.key + " ="), std::string::npos) << method.name << ": " << all;
    }
  }
}

TEST(ConfigResolve, RefusesSizesThatDoNotFit) {
  const auto refused = [](const std::string& text, uint64_t images = 1000) -> std::string {
    try {
      resolve_config(from_text(text), images, 1);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refused(""), "accepted");
  EXPECT_THAT(refused("[model]\nheads = 5\n"), HasSubstr("divisor of model.dim = 384"));
  EXPECT_THAT(refused("[views]\nglobal_size = 200\n"), HasSubstr("multiple of model.patch_size = 16"));
  EXPECT_THAT(refused("[views]\nlocal_size = 90\n"), HasSubstr("views.local_size"));
  EXPECT_EQ(refused("[views]\nlocal_size = 90\nlocal_count = 0\n"), "accepted");
  EXPECT_THAT(refused("[views]\nglobal_scale_min = 0.9\nglobal_scale_max = 0.5\n"), HasSubstr("0.9 to 0.5"));
  EXPECT_THAT(refused("", 255), HasSubstr("at most the 255 training images"));
  EXPECT_THAT(refused("[train]\nlength = 0\n"), HasSubstr("at least one step"));
  EXPECT_THAT(refused("", 0), HasSubstr("at least one"));
}

TEST(ConfigHelp, FollowsFromTheMethods) {
  const auto help = [](const std::string& key) {
    for (const Field& field : config_fields())
      if (field.key == key) return describe(field).help;
    return std::string("no such key");
  };
  EXPECT_THAT(help("optim.name"), HasSubstr("auto: adamw, for byol, simclr, vicreg, barlow_twins, swav and emp_ssl lars"));
  EXPECT_THAT(
      help("head.out_dim"),
      HasSubstr("auto: 1024 to 65536 by the number of training images, for byol and visreg 256, for vicreg and barlow_twins 8192, "
                "for fastsiam 2048, for simclr 128, for lejepa 64, for swav 3000, for emp_ssl 1024 [all but simdino and simdinov2]"));
  EXPECT_THAT(help("head.layers"), HasSubstr("auto: 3, for swav 2"));
  EXPECT_THAT(help("teacher.momentum"), HasSubstr("[all but fastsiam, simclr, lejepa, visreg, vicreg, barlow_twins, swav and emp_ssl]"));
  EXPECT_THAT(help("loss.coding_eps"), HasSubstr("auto: 0.5, for simdinov2 0.05, for emp_ssl 0.2 [simdino, simdinov2 and emp_ssl]"));
  EXPECT_THAT(help("views.global_scale_max"), HasSubstr("auto: 1, for emp_ssl 0.25"));
  EXPECT_THAT(help("loss.temp"), HasSubstr("[simclr]"));
  EXPECT_THAT(help("gram.tokens"), HasSubstr("[dino, ibot, dinov2, dinov3 and distill, where gram.weight is above 0]"));
  for (const Field& field : config_fields()) {
    if (field.default_text == "auto" && field.key != "train.device") EXPECT_THAT(describe(field).help, HasSubstr("auto:")) << field.key;
  }
  for (const Method& method : methods())
    EXPECT_THAT(config_markdown(), HasSubstr(fmt::format("| `{}` | {} |", method.name, method.summary)));
}

// The document is written from the table: DINOXX_UPDATE_DOCS=1 writes it anew.
TEST(ConfigDocument, IsWhatTheTableSays) {
  const std::string path = source_dir() / "docs/configuration.md";
  if (std::getenv("DINOXX_UPDATE_DOCS")) std::ofstream(path) << config_markdown();
  EXPECT_EQ(read_text(path), config_markdown());
}

// Every recipe in configs/ parses and fits together for a data set of its kind.
TEST(ConfigRecipes, AreValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_dir() / "configs")) {
    if (entry.path().extension() != ".cfg") continue;
    ++count;
    Config config = default_config();
    ASSERT_NO_THROW(apply_settings(config, read_settings(entry.path()))) << entry.path();
    EXPECT_NO_THROW(refuse_unread_keys(config, 50000, 2, 1)) << entry.path();
    EXPECT_NO_THROW(resolve_config(config, 50000, 2)) << entry.path();
  }
  EXPECT_GE(count, 4);
}

}  // namespace
}  // namespace dinoxx
