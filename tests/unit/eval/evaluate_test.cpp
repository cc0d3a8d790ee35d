#include "eval/run/evaluate.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <set>

#include "dinoxx/base/error.hpp"
#include "eval/run/protocols.hpp"
#include "model/weights/weights.hpp"
#include "results/protocol_names.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx::eval {
namespace {

using dinoxx::testing_support::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

template <typename E, typename F>
std::string message_of(F&& run) {
  try {
    run();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(ParseNames, KnownNamesOnlyAndTheNearestOneIsOffered) {
  EXPECT_THAT(parse_names("raw,untrained,raw", baseline_names(), "--baselines"), ElementsAre("raw", "untrained"));
  EXPECT_THAT(parse_names("none", baseline_names(), "--baselines", true), IsEmpty());
  EXPECT_THAT(message_of<UsageError>([] { parse_names("untraned", baseline_names(), "--baselines"); }), HasSubstr("untrained?"));
  EXPECT_THAT(message_of<UsageError>([] { parse_names("none", protocol_names(), "--protocol"); }), HasSubstr("--protocol"));
  EXPECT_THAT(message_of<UsageError>([] { parse_names("", protocol_names(), "--protocol"); }), HasSubstr("knn"));
  EXPECT_THAT(message_of<UsageError>([] { parse_names("knn,", protocol_names(), "--protocol"); }), HasSubstr("knn"));
}

TEST(ParseProtocols, OldWordsMeanWhatTheyMeantAndAreTold) {
  std::vector<std::string> notes;
  const auto parse = [&](const std::string& text) {
    notes.clear();
    return parse_protocols(text, protocol_names(), "--protocol", [&](const std::string& note) { notes.push_back(note); });
  };
  EXPECT_THAT(parse("zero,few,linear,sweep,linseg"), ElementsAre("clustering", "few_shot", "logistic", "linear_probe", "segmentation"));
  ASSERT_EQ(notes.size(), 5u);
  EXPECT_THAT(notes[2], HasSubstr("\"linear\" is now called \"logistic\""));
  EXPECT_THAT(parse("ladder"), ElementsAre("all"));
  EXPECT_EQ(notes.size(), 1u);
  EXPECT_THAT(parse("knn,clustering,few_shot,logistic,linear_probe,finetune,segmentation,match"), SizeIs(8));
  EXPECT_THAT(notes, IsEmpty());
  EXPECT_THAT(parse("logistic,linear"), ElementsAre("logistic"));  // twice the same
  EXPECT_THAT(message_of<UsageError>([&] { parse("logistik"); }), HasSubstr("Did you mean logistic?"));
}

TEST(ProtocolNames, NoWordIsTheOldWordOfAnotherProtocol) {
  ASSERT_EQ(protocols().size(), kProtocolNames.size());
  std::set<std::string_view> words, keys;
  for (size_t i = 0; i < kProtocolNames.size(); ++i) {
    const auto& [word, key] = kProtocolNames[i];
    EXPECT_EQ(protocols()[i].name, word);
    EXPECT_EQ(protocols()[i].key, key);
    EXPECT_TRUE(words.insert(word).second && keys.insert(key).second) << word;
    EXPECT_EQ(protocol_key(word), key);
    EXPECT_EQ(protocol_word(key), word);
  }
  for (const auto& [word, key] : kProtocolNames) EXPECT_TRUE(word == key || !keys.contains(word)) << word;
  EXPECT_FALSE(words.contains("linear"));
  EXPECT_EQ(protocol_word("of a later version"), "of a later version");
}

VitConfig shape(const std::string& stem) {
  VitConfig config;
  config.image_size = 32;
  config.patch_size = 8;
  config.dim = 128;
  config.depth = 3;
  config.heads = 2;  // 128 / 64, so that it can be guessed
  config.mlp_ratio = 3.0;
  config.stem = stem;
  return config;
}

void write_network(const std::filesystem::path& path, const VisionTransformer& network, const std::string& prefix) {
  NamedTensors named;
  for (const NamedTensor& p : network.parameters()) named.push_back({prefix + p.name, p.tensor});
  write_safetensors(path, tensor_views(named));
}

TEST(LoadModel, ShapesSayWhatTheNetworkIs) {
  for (const char* stem : {"patch", "conv"}) {
    for (const char* prefix : {"", "backbone."}) {
      const TemporaryFolder folder;
      VisionTransformer network(shape(stem), at::kFloat);
      network.initialize(3);
      write_network(folder / "weights.safetensors", network, prefix);
      ModelRequest request;
      request.checkpoint = folder / "weights.safetensors";
      const LoadedModel model = load_model(request);
      const VitConfig found = std::get<VitConfig>(model.network->config()), expected = shape(stem);
      EXPECT_EQ(found.image_size, expected.image_size);
      EXPECT_EQ(found.patch_size, expected.patch_size);
      EXPECT_EQ(found.dim, expected.dim);
      EXPECT_EQ(found.depth, expected.depth);
      EXPECT_EQ(found.heads, expected.heads);
      EXPECT_EQ(found.stem, expected.stem);
      EXPECT_EQ(model.image_size, 32);
      EXPECT_THAT(model.notes, ElementsAre(HasSubstr("2 heads assumed"), HasSubstr("the input is normalised by ImageNet's")));
      for (size_t i = 0; i < network.parameters().size(); ++i) {
        EXPECT_TRUE(at::equal(model.network->parameters()[i].tensor, network.parameters()[i].tensor)) << network.parameters()[i].name;
      }
      request.model_settings = {{"model.heads", "4", "--model.heads"}};
      EXPECT_EQ(std::get<VitConfig>(load_model(request).network->config()).heads, 4);
      EXPECT_THAT(load_model(request).notes, ElementsAre(HasSubstr("the input is normalised by ImageNet's")));
    }
  }
}

// Positions for 518 pixels, and every table of the publication from 224: five times the work for other numbers.
TEST(LoadModel, DinoV2IsLookedAtAsItWasPublished) {
  const TemporaryFolder folder;
  for (const auto& [positions, size] : {std::pair{518, 224}, std::pair{392, 392}, std::pair{98, 98}}) {
    VitConfig config = shape("patch");
    config.image_size = positions;
    config.patch_size = 14;
    config.dim = 64;
    config.depth = config.heads = 1;
    VisionTransformer network(config, at::kFloat);
    network.initialize(3);
    write_network(folder / "weights.safetensors", network, "");
    ModelRequest request;
    request.checkpoint = folder / "weights.safetensors";
    const LoadedModel model = load_model(request);
    EXPECT_EQ(model.image_size, size) << positions;
    if (size != positions) EXPECT_THAT(model.notes, testing::Contains(HasSubstr("as DINOv2 was published with")));
  }
}

TEST(LoadModel, ForeignFilesAndEmptyFoldersAreRefused) {
  const TemporaryFolder folder;
  ModelRequest request;
  request.checkpoint = folder / "nothing";
  EXPECT_THAT(message_of<UsageError>([&] { load_model(request); }), HasSubstr("nothing"));
  request.checkpoint = folder.path();
  EXPECT_THAT(message_of<UsageError>([&] { load_model(request); }), HasSubstr("run folder with checkpoints"));

  const at::Tensor other = at::ones({3, 4});
  write_safetensors(folder / "other.safetensors", tensor_views({{"encoder.weight", other}}));
  request.checkpoint = folder / "other.safetensors";
  EXPECT_THAT(message_of<UsageError>([&] { load_model(request); }), HasSubstr("a backbone that dinoxx knows"));

  VisionTransformer network(shape("patch"), at::kFloat);
  network.initialize(3);
  NamedTensors named = network.parameters();
  named.pop_back();
  write_safetensors(folder / "part.safetensors", tensor_views(named));
  request.checkpoint = folder / "part.safetensors";
  EXPECT_THAT(message_of<Error>([&] { load_model(request); }), HasSubstr("missing: norm.bias"));
  request.step = 3;
  EXPECT_THAT(message_of<UsageError>([&] { load_model(request); }), HasSubstr("--checkpoint-step"));
}

TEST(ResultsTable, ShowsHeadlineBaselinesClassesAndNotes) {
  const nlohmann::json half = {{"accuracy", 0.5}, {"interval95", {0.25, 0.75}}, {"balanced_accuracy", 0.4}};
  const nlohmann::json results = {{"checkpoint", {{"notes", {"heads guessed"}}}},
                                  {"suites",
                                   {{"knn",
                                     {{"protocol",
                                       {{"k", {10, 20}},
                                        {"headline_k", 20},
                                        {"memory", {{"source", "train"}, {"images", 90}}},
                                        {"queries", {{"source", "val"}, {"images", 8}}},
                                        {"classes", 2},
                                        {"transform", "32 x 32 as stored"},
                                        {"notes", {"no test split: scored on val"}}}},
                                      {"results",
                                       {{{"name", "teacher"},
                                         {"by_k", {{"10", {{"accuracy", 0.625}}}, {"20", {{"accuracy", 0.5}}}}},
                                         {"headline", half},
                                         {"classes",
                                          {{{"name", "oak"}, {"memory", 60}, {"queries", 8}, {"recall", 0.5}, {"interval95", {0.2, 0.8}}},
                                           {{"name", "elm"}, {"memory", 30}, {"queries", 0}, {"recall", nullptr}}}}}}}}}}}};
  const std::string table = results_table(results);
  for (const char* part :
       {"*k=20", "62.50", "50.00", "25.00-75.00", "40.00", "oak", "elm", "note: no test split", "note: heads guessed", "val (8 images)"}) {
    EXPECT_THAT(table, HasSubstr(part));
  }
}

TEST(ResultsTable, LeaksAndFoldsHaveTablesOfTheirOwn) {
  using nlohmann::json;
  json scores = {{"bootstrap95", {{"balanced_accuracy", {0.4, 0.6}}}}};
  for (const char* key : {"accuracy", "balanced_accuracy", "macro_f1", "mcc", "auroc", "auprc"}) scores[key] = 0.5;
  json leaky = scores;
  leaky["without_leaks"] = {
      {"count", 2}, {"accuracy", 0.1234}, {"balanced_accuracy", 0.2345}, {"bootstrap95", {{"balanced_accuracy", nullptr}}}};
  const json score = {{"mean", 0.6789}, {"interval95", {0.6111, 0.7222}}}, none = {{"mean", 0.25}, {"interval95", nullptr}};
  const json folds = {{"folds", 5},
                      {"repeats", 5},
                      {"images", 61},
                      {"units", "groups"},
                      {"methods", {{"plain", {{"balanced_accuracy", score}, {"accuracy", score}}}}},
                      {"majority", {{"balanced_accuracy", none}, {"accuracy", none}}}};
  const json result = {{"name", "teacher"}, {"methods", {{"plain", leaky}}}, {"repeated_folds", folds}};
  const json results = {
      {"checkpoint", {{"notes", json::array()}}},
      {"majority", leaky},
      {"checks",
       {{"leaks", {{"queries", 22}, {"of", 24}, {"file", "leaks.csv"}}}, {"test_size", {{"few", true}}}, {"warnings", json::array()}}},
      {"suites", {{"linear", {{"protocol", {{"notes", json::array()}}}, {"results", json::array({result})}}}}}};
  const std::string table = results_table(results);
  for (const char* part :
       {"without the 22 of 24 test images that are leaks", "12.34", "23.45",
        "5 x 5-fold cross-validation of the 61 training images by whole groups, in %: the headline", "61.11-72.22", "25.00"})
    EXPECT_THAT(table, HasSubstr(part));
}

}  // namespace
}  // namespace dinoxx::eval
