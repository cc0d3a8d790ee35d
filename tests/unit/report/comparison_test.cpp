#include <gmock/gmock.h>

#include "page_checks.hpp"
#include "report/comparison/comparison_pages.hpp"
#include "report/comparison/comparison_view.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

json pair_of(size_t first, size_t second, double difference, double p, const std::string& answer) {
  const auto score = [&](double by) {
    return json{{"difference", by}, {"interval95", {by - 0.031, by + 0.029}}, {"p", p / 3}, {"p_holm", p}};
  };
  json row = {{"first", first},
              {"second", second},
              {"balanced_accuracy", score(difference)},
              {"accuracy", score(difference + 0.001)},
              {"answer", answer}};
  row["accuracy"].update({{"only_first_right", 41}, {"only_second_right", 17}});
  return row;
}

// small, large and wide: large has the highest score and is better than wide.
json small_comparison() {
  const auto scores = [](double balanced) {
    return json{{"balanced_accuracy", balanced},
                {"balanced95", {balanced - 0.04, balanced + 0.03}},
                {"accuracy", balanced + 0.1},
                {"interval95", {balanced + 0.05, balanced + 0.14}}};
  };
  const auto checkpoint = [](const char* name, json model, double speed) {
    return json{{"name", name},
                {"folder", std::string("out/") + name},
                {"file", std::string(name) + ".safetensors"},
                {"crc32c", "0badcafe"},
                {"model", std::move(model)},
                {"parameters", 22050000},
                {"feature_dim", 384},
                {"transform", "short side to 256 (bicubic), centre crop 224"},
                {"cost",
                 {{"images_per_core_second", speed},
                  {"embed_seconds", 90},
                  {"fit_seconds", 33},
                  {"total_seconds", 150},
                  {"host", "n1"},
                  {"processor", "cpu"},
                  {"device", "cpu"},
                  {"ranks", 2},
                  {"threads", 4},
                  {"cache_read", false}}}};
  };
  const json row = {{"name", "<rare>"},
                    {"memory", 7},
                    {"queries", 19},
                    {"correct", {3, 15, 4}},
                    {"rare", true},
                    {"pairs", {{{"first", 0}, {"second", 1}, {"only_first_right", 1}, {"only_second_right", 13}, {"p_holm", 0.0034}}}}};
  json together = row;
  together["names"] = {"<rare>"};
  return {{"format", "dinoxx comparison"},
          {"level", 0.05},
          {"data", {{"name", "leaves"}}},
          {"memory", {{"images", 808}}},
          {"queries", {{"images", 153}, {"source", "test"}}},
          {"few_test_images", false},
          {"test", {{"images", 153}}},
          {"checkpoints",
           {checkpoint("small", {{"kind", "vit"}, {"dim", 384}, {"depth", 12}, {"patch_size", 16}}, 12.0),
            checkpoint("large", {{"kind", "convnext"}, {"dims", {96, 192}}, {"depths", {3, 9}}}, 4.0),
            checkpoint("wide", {{"kind", "resnet"}, {"depths", {3, 4, 6, 3}}, {"width", 64}, {"bottleneck", true}}, 6.0)}},
          {"methods",
           {{{"protocol", "knn"},
             {"method", "vote"},
             {"scores", {scores(0.5), scores(0.6), scores(0.4)}},
             {"order", {1, 0, 2}},
             {"pairs", {pair_of(0, 1, -0.1, 0.001, "second"), pair_of(0, 2, 0.1, 0.2, "none"), pair_of(1, 2, 0.2, 0.001, "first")}}},
            {{"protocol", "linear"},
             {"method", "plain"},
             {"scores", {scores(0.7111), scores(0.7222), scores(0.6333)}},
             {"order", {1, 0, 2}},
             {"pairs",
              {pair_of(0, 1, -0.0111, 0.4, "none"), pair_of(0, 2, 0.0778, 0.03, "accuracy"), pair_of(1, 2, 0.0889, 0.0012, "first")}}}}},
          {"classes", {{"protocol", "linear"}, {"method", "plain"}, {"classes", {row}}, {"rare", together}}},
          {"figures",
           {{{"protocol", "few"},
             {"figure", "shots"},
             {"method", "simpleshot"},
             {"shots", 4},
             {"spread", "draws"},
             {"values", {{{"value", 0.41}, {"interval95", {0.4, 0.42}}}, {{"value", 0.43}, {"interval95", {0.4, 0.46}}}, nullptr}},
             {"pairs", nullptr}}}},
          {"left_out", {{{"protocol", "sweep"}, {"why", "not run for wide"}}}},
          {"notes", {"--seed differs"}}};
}

TEST(ComparisonVerdict, NamesThoseThatCannotBeToldApartAndWhoIsWorse) {
  const json all = small_comparison();
  const ComparisonVerdict verdict = comparison_verdict(ComparisonView(all));
  // of k-NN large would be the best alone: the verdict is about the first method of the fixed order
  EXPECT_THAT(verdict.answer[0], HasSubstr("By logistic regression, large and small cannot be told apart on these 153 test images."));
  EXPECT_THAT(verdict.answer[0],
              HasSubstr("highest balanced accuracy is that of large: 72.22 % [68.22, 75.22]. wide is worse than large."));
  EXPECT_THAT(verdict.answer,
              testing::Contains(HasSubstr("Rare classes (<rare>), 19 test images together, right answers: small 3, large 15, "
                                          "wide 4; large above small (p 0.0034).")));
  EXPECT_THAT(verdict.answer, testing::Contains(HasSubstr("small is the fastest: 12 images a second of one thread; the slowest does 4.")));
  EXPECT_THAT(verdict.limits[0], HasSubstr("large - small is +1.11 [-1.79, +4.21] points"));
  EXPECT_THAT(verdict.limits, testing::Contains(HasSubstr("corrected for 3 pairs (Holm), give p < 0.05")));
}

TEST(ComparisonVerdict, OneThatIsBetterThanAllOthers) {
  json all = small_comparison();
  all["methods"][1]["pairs"][0]["answer"] = "second";
  const ComparisonVerdict verdict = comparison_verdict(ComparisonView(all));
  EXPECT_THAT(verdict.answer[0], HasSubstr("large is better than small and wide"));
  for (const std::string& sentence : verdict.answer) EXPECT_THAT(sentence, Not(HasSubstr("cannot be told apart")));
}

TEST(ComparisonVerdict, TestsThatDisagreeAreUndecided) {
  json all = small_comparison();
  for (const auto& [answer, words] : {std::pair("accuracy", "differ in accuracy, which frequent classes decide"),
                                      std::pair("balanced_accuracy", "but not in the number of right answers"),
                                      std::pair("opposite", "depends on how often each class comes in use")}) {
    all["methods"][1]["pairs"][0]["answer"] = answer;
    EXPECT_THAT(comparison_verdict(ComparisonView(all)).answer[1], HasSubstr(words));
  }
}

TEST(ComparisonVerdict, NoneWithoutAMethodOrAScore) {
  json all = small_comparison();
  all["methods"][1]["scores"][2] = {{"balanced_accuracy", nullptr}, {"undefined", {{"balanced_accuracy", "one class only"}}}};
  EXPECT_THAT(comparison_verdict(ComparisonView(all)).answer, ElementsAre(HasSubstr("one class only")));
  all["methods"] = json::array();
  EXPECT_THAT(comparison_verdict(ComparisonView(all)).answer, ElementsAre(HasSubstr("No verdict")));
}

TEST(ComparisonVerdict, FewTestImagesBringTheFolds) {
  json all = small_comparison();
  const auto row = [](size_t first, size_t second, double difference) {
    return json{{"first", first},
                {"second", second},
                {"difference", difference},
                {"interval95", {difference - 0.02, difference + 0.02}},
                {"p_holm", 0.7}};
  };
  all["figures"].push_back({{"protocol", "linear"},
                            {"figure", "cross_validation"},
                            {"method", "plain"},
                            {"values", {nullptr, nullptr, nullptr}},
                            {"pairs", {row(0, 1, -0.01), row(0, 2, 0.04), row(1, 2, 0.05)}}});
  for (const std::string& sentence : comparison_verdict(ComparisonView(all)).answer) EXPECT_THAT(sentence, Not(HasSubstr("are few")));
  all["few_test_images"] = true;
  EXPECT_THAT(
      comparison_verdict(ComparisonView(all)).answer,
      testing::Contains(HasSubstr("large - small: +1.00 [-1.00, +3.00] points, p 0.70; large - wide: +5.00 [+3.00, +7.00] points")));
}

TEST(ComparisonPages, TheTextHasCostScoresMarksAndNotes) {
  const std::string text = evaluations_text(small_comparison());
  for (const char* words : {"ViT 384 x 12, patch 16", "ConvNeXt 96-192, blocks 3-9", "ResNet (bottleneck) 3-4-6-3, width 64", "22.05 M",
                            "1.50", "0.55", "2.50", "n1 (cpu), cpu, 2 x 4 threads", "72.22 [68.22, 75.22] *", "63.33 [59.33, 66.33] -",
                            "71.11 [67.11, 74.11]  ", "-1.11 [-4.21, +1.79]", "few-shot, 4 a class, SimpleShot", "41.00 [40.00, 42.00]",
                            "note: linear_probe is not compared: not run for wide", "note: --seed differs"})
    EXPECT_THAT(text, HasSubstr(words));
  json all = small_comparison();
  all["checkpoints"][1]["cost"]["host"] = "n2";
  EXPECT_THAT(evaluations_text(all), AllOf(HasSubstr("not comparable"), Not(HasSubstr("is the fastest"))));
}

TEST(ComparisonPages, ThePageStandsAloneAndEscapesNames) {
  const std::string page = evaluations_html(small_comparison());
  expect_good_page(page);
  EXPECT_THAT(page, HasSubstr("&lt;rare&gt;"));
  EXPECT_THAT(section_of(page, "verdict"), HasSubstr("cannot be told apart"));
  EXPECT_THAT(section_of(page, "scores"), AllOf(HasSubstr("72.22 [68.22, 75.22] (highest)"), HasSubstr("63.33 [59.33, 66.33] (worse)")));
  EXPECT_THAT(section_of(page, "pairs"), AllOf(HasSubstr("undecided: accuracy alone differs"), HasSubstr("0.0012")));
  EXPECT_THAT(section_of(page, "classes"), HasSubstr("large above small (p 0.0034)"));
}

TEST(ComparisonPages, TheCsvHasALineForEachCheckpointAndScore) {
  const std::string csv = evaluations_csv(small_comparison());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 2 * 3 * 2 + 3);
  EXPECT_THAT(csv, HasSubstr("small,small.safetensors,0badcafe,logistic,plain,balanced_accuracy,0.7111,"));
  EXPECT_THAT(csv, HasSubstr("few_shot,simpleshot,shots_4,0.41,0.4,0.42,,,,,\n"));
  // small - large, the best: the pair the other way round
  EXPECT_THAT(csv, HasSubstr(",-0.0111,-0.0421,0.0179,"));
}

TEST(ComparisonPages, AnythingMayBeMissing) {
  const json all = small_comparison();
  for (const auto& [key, value] : all.items()) {
    json part = all;
    part.erase(key);
    expect_good_page(evaluations_html(part));
    EXPECT_THAT(evaluations_text(part), Not(IsEmpty())) << key;
    EXPECT_THAT(evaluations_csv(part), HasSubstr("checkpoint,file")) << key;
  }
}

}  // namespace
}  // namespace dinoxx::report
