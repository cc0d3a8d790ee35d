#include "config/config.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "config/config_fields.hpp"
#include "config/config_options.hpp"
#include "dinoxx/base/error.hpp"
#include "method/teacher_config.hpp"
#include "optim/optim_config.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

Config from_text(const std::string& text) {
  Config config = default_config();
  apply_settings(config, parse_settings(text, "test.cfg"));
  return config;
}

// The message of the UsageError that `text` brings, "accepted" without one.
std::string refusal(const std::string& text) {
  try {
    from_text(text);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

ConfigLine line_of(std::vector<std::string> words) {
  words.insert(words.begin(), "train");
  std::vector<char*> argv;
  argv.reserve(words.size());
  for (std::string& word : words) argv.push_back(word.data());
  boost::program_options::options_description own;
  own.add_options()("config", boost::program_options::value<std::string>())("check", boost::program_options::bool_switch());
  return parse_config_line(static_cast<int>(argv.size()), argv.data(), own);
}

std::string line_refusal(std::vector<std::string> words) {
  try {
    Config config = default_config();
    apply_settings(config, line_of(std::move(words)).settings);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ConfigTable, KeysAreUniqueAndDocumented) {
  std::set<std::string> keys, sections;
  for (const Section& section : config_sections()) sections.insert(section.name);
  for (const Field& field : config_fields()) {
    EXPECT_TRUE(keys.insert(field.key).second) << field.key;
    EXPECT_TRUE(sections.contains(field.key.substr(0, field.key.find('.')))) << field.key;
    EXPECT_GT(field.help.size(), 3u) << field.key;
    Config config = default_config();
    field.set(config, field.default_text);
    EXPECT_EQ(field.get(config), field.default_text) << field.key << ": the default is not printed as it is written";
    EXPECT_EQ(config, default_config()) << field.key;
  }
}

TEST(ConfigTable, EachKeyReachesAValueOfItsOwn) {
  // Changing one key changes what this key prints and no other.
  for (const Field& field : config_fields()) {
    Config config = default_config();
    for (const char* text :
         {"7",           "0.25",  "no",   "yes",   "3ep",   "vit_tiny", "dinov3", "conv", "bf16",     "cpu",     "5,6",
          "mask",        "pad",   "byol", "sgd",   "none",  "constant", "module", "step", "sinkhorn", "both",    "masked",
          "16x8x24:0.5", "exact", "silu", "flash", "zero1", "node",     "batch",  "gram", "time",     "reversal"}) {
      Config tried = default_config();
      try {
        field.set(tried, text);
      } catch (const std::invalid_argument&) {
        continue;
      }
      if (field.get(tried) != field.default_text) config = tried;
    }
    for (const Field& other : config_fields()) {
      if (other.key == field.key) continue;
      EXPECT_EQ(other.get(config), other.default_text) << field.key << " also sets " << other.key;
    }
    EXPECT_NE(field.get(config), field.default_text) << field.key;
  }
}

TEST(ConfigFile, ParsesWhatItPrints) {
  Config config = from_text(
      "[optim]\nlr = 0.1234567890123456\nwarmup = 2.5ep\n[train]\nlength = 5000it\nbatch_size = 96\n[eval]\nknn_k = 1,5\n[teacher]\ntemp = "
      "0.05\n");
  EXPECT_EQ(from_text(print_config(config)), config);
  EXPECT_EQ(from_text(print_config(default_config())), default_config());
}

TEST(ConfigFile, CommentsAndSpaces) {
  const Config config = from_text("# a comment\n\n[optim]\n  lr=0.25   # peak\n");
  EXPECT_EQ(config.optim->lr, 0.25);
}

TEST(ConfigFile, RefusesWithFileLineAndAdvice) {
  EXPECT_THAT(refusal("[optim]\n\nlr = fast\n"),
              testing::AllOf(HasSubstr("test.cfg:3"), HasSubstr("optim.lr"), HasSubstr("a number"), HasSubstr("\"fast\"")));
  EXPECT_THAT(refusal("[optim]\nlrr = 1\n"), testing::AllOf(HasSubstr("test.cfg:2"), HasSubstr("Did you mean optim.lr")));
  EXPECT_THAT(refusal("[optimm]\nlr = 1\n"), HasSubstr("Did you mean optim.lr"));
  EXPECT_THAT(refusal("lr = 1\n"), HasSubstr("Did you mean optim.lr"));
  EXPECT_THAT(refusal("[optim]\nlr = 1\n# x\nlr = 2\n"), testing::AllOf(HasSubstr("test.cfg:4"), HasSubstr("line 2")));
  EXPECT_THAT(refusal("[optim]\nlr\n"), testing::AllOf(HasSubstr("test.cfg:2"), HasSubstr("key = value")));
  EXPECT_THAT(refusal("[train]\nbatch_size = 2.5\n"), HasSubstr("an integer"));
  EXPECT_THAT(refusal("[train]\nbatch_size = 0\n"), HasSubstr("an integer from 1"));
  EXPECT_THAT(refusal("[train]\nbatch_size = 99999999999999999999\n"), HasSubstr("an integer"));
  EXPECT_THAT(refusal("[train]\nlength = 10\n"), HasSubstr("10ep"));
  EXPECT_THAT(refusal("[train]\nlength = -1ep\n"), HasSubstr("10ep"));
  EXPECT_THAT(refusal("[train]\nlength = 1.5it\n"), HasSubstr("10ep"));
  EXPECT_THAT(refusal("[train]\nprecision = fp16\n"), HasSubstr("fp32, bf16"));
  EXPECT_THAT(refusal("[views]\nblur = maybe\n"), HasSubstr("yes or no"));
  EXPECT_THAT(refusal("[optim]\nlr = nan\n"), HasSubstr("a number"));
  EXPECT_THAT(refusal("[optim]\nlr = inf\n"), HasSubstr("a number"));
  EXPECT_THAT(refusal("[teacher]\ntemp = hot\n"), HasSubstr("or auto"));
  EXPECT_THAT(refusal("[eval]\nknn_k = 10,,20\n"), HasSubstr("integer"));
  EXPECT_THROW(read_settings("/nonexistent/file.cfg"), UsageError);
}

TEST(ConfigLineTest, KeysAreOptionsAndWinOverNothingElse) {
  const ConfigLine line = line_of({"--config", "a.cfg", "--optim.lr", "0.5", "--train.length=3ep", "--check"});
  EXPECT_EQ(line.variables["config"].as<std::string>(), "a.cfg");
  EXPECT_TRUE(line.variables["check"].as<bool>());
  Config config = default_config();
  apply_settings(config, line.settings);
  EXPECT_EQ(config.optim->lr, 0.5);
  EXPECT_EQ(config.train->length, (Duration{3, Duration::Unit::kEpochs}));
  for (const Field& field : config_fields()) EXPECT_THAT(line.help, HasSubstr("--" + field.key));
}

TEST(ConfigLineTest, Refuses) {
  EXPECT_THAT(line_refusal({"--optim.lrr", "1"}), HasSubstr("Did you mean --optim.lr"));
  EXPECT_THAT(line_refusal({"--confg", "x"}), HasSubstr("Did you mean --config"));
  EXPECT_THAT(line_refusal({"--optim.l", "1"}), HasSubstr("known option"));  // no guessing from prefixes
  EXPECT_THAT(line_refusal({"--optim.lr"}), HasSubstr("optim.lr"));
  EXPECT_THAT(line_refusal({"--optim.lr", "fast"}), testing::AllOf(HasSubstr("--optim.lr"), HasSubstr("a number")));
  EXPECT_THAT(line_refusal({"stray"}), HasSubstr("a word that belongs to none"));
}

// Runs that were saved when the key was a number of epochs are what they were, and go on.
TEST(ConfigResolve, ABareTemperatureWarmUpIsEpochs) {
  const auto warm = [](const std::string& text) { return from_text("[teacher]\nwarmup_temp_epochs = " + text + "\n"); };
  for (const char* number : {"0", "30", "0.2425", "1e-06"}) {
    EXPECT_EQ(warm(number).teacher->warmup_temp_epochs->text(), std::string(number) + "ep");
    EXPECT_THAT(config_differences(warm(number), warm(std::string(number) + "ep")), testing::IsEmpty());
  }
  EXPECT_EQ(warm("600it").teacher->warmup_temp_epochs->steps(1000, 10), 600);
  EXPECT_EQ(warm("64000samples").teacher->warmup_temp_epochs->steps(1000, 10), 6400);
  EXPECT_FALSE(warm("auto").teacher->warmup_temp_epochs.has_value());
  for (const char* text : {"-1", "", "ep", "3 ep", "soon"}) EXPECT_THROW(warm(text), UsageError) << text;
}

// Likewise those of when the key was yes or no.
TEST(ConfigResolve, RecomputeWasYesOrNo) {
  const auto recompute = [](const std::string& text) { return from_text("[model]\nrecompute = " + text + "\n"); };
  for (const auto& [before, now] : std::vector<std::pair<std::string, std::string>>{
           {"yes", "block"}, {"true", "block"}, {"on", "block"}, {"1", "block"}, {"no", "none"}, {"false", "none"}, {"off", "none"}}) {
    EXPECT_EQ(recompute(before), recompute(now)) << before;
    EXPECT_THAT(print_config(recompute(before)), HasSubstr("\nrecompute = " + now + " "));
  }
  EXPECT_NE(recompute("yes"), recompute("no"));
  EXPECT_NE(recompute("attention"), recompute("block"));
  EXPECT_THAT(refusal("[model]\nrecompute = some\n"),
              testing::AllOf(HasSubstr("test.cfg:2"), HasSubstr("one of none, attention, block"), HasSubstr("\"some\"")));
  EXPECT_THAT(refusal("[model]\nrecompute_every = 0\n"), HasSubstr("an integer from 1"));
}

TEST(ConfigDifferences, NameTrainingKeysOnly) {
  Config a = default_config(), b = a;
  b.optim->lr = 1;
  b.train->log_every = 77;
  EXPECT_EQ(config_differences(a, b), (std::vector<std::string>{"optim.lr was auto and is 1"}));
  EXPECT_NE(training_identity(a), training_identity(b));
  b.optim->lr = a.optim->lr;
  EXPECT_EQ(training_identity(a), training_identity(b));
}

TEST(DurationTest, StepsOfEpochs) {
  EXPECT_EQ(Duration::parse("10ep").steps(50000, 128), 3906);  // 3906.25
  EXPECT_EQ(Duration::parse("0.1ep").steps(50000, 50), 100);
  EXPECT_EQ(Duration::parse("7it").steps(50000, 128), 7);
  EXPECT_EQ(Duration::parse("0").steps(50000, 128), 0);
  EXPECT_EQ(Duration::parse("64000samples").steps(50000, 128), 500);
  EXPECT_EQ(Duration::parse("64127samples").steps(1, 128), 500);
  for (const char* text : {"", "ep", "10", "10 ep", "10eps", "-1it", "1.5it", "nanep", "1e99it", "samples", "1.5samples", "10sample"})
    EXPECT_THROW(Duration::parse(text), std::invalid_argument) << text;
  for (const char* text : {"10ep", "0.5ep", "0it", "123456it", "64000samples"}) EXPECT_EQ(Duration::parse(text).text(), text);
}

// Periods of epochs and samples end in the step that sees their last image, whether or not batches divide them.
TEST(DurationTest, EndsOfPeriods) {
  const auto ends = [](const char* text) {
    std::vector<int64_t> steps;
    for (int64_t step = 0; step <= 12; ++step)
      if (Duration::parse(text).ends_with(step, 40, 10)) steps.push_back(step);
    return steps;
  };
  using Steps = std::vector<int64_t>;
  EXPECT_EQ(ends("5it"), (Steps{5, 10}));
  EXPECT_EQ(ends("1ep"), (Steps{4, 8, 12}));
  EXPECT_EQ(ends("40samples"), (Steps{4, 8, 12}));
  EXPECT_EQ(ends("25samples"), (Steps{3, 5, 8, 10}));
  EXPECT_EQ(ends("0"), Steps{});
  EXPECT_EQ(ends("0samples"), Steps{});
}

TEST(WallTime, Units) {
  EXPECT_EQ(parse_wall_time("11h"), 39600);
  EXPECT_EQ(parse_wall_time("1h30m"), 5400);
  EXPECT_EQ(parse_wall_time("90"), 90);
  EXPECT_EQ(parse_wall_time("2.5s"), 2.5);
  for (const char* text : {"", "h", "5d", "-3s", "1h x"}) EXPECT_THROW(parse_wall_time(text), std::invalid_argument) << text;
}

}  // namespace
}  // namespace dinoxx
