// The verdict on top of an evaluation's page: which score speaks, what it is compared with, which classes cannot be trusted.
#include <gmock/gmock.h>

#include "page_checks.hpp"
#include "report/eval/eval_report.hpp"
#include "report/eval/eval_sections.hpp"
#include "results.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

TEST(EvalReport, TheVerdictNamesClassesThatCannotBeTrusted) {
  const std::string page = eval_report_html(small_results());
  EXPECT_THAT(page, HasSubstr("logistic regression, logit-adjusted on features of the checkpoint"));
  EXPECT_THAT(page, HasSubstr("Classes with unreliable predictions (3 of 4)"));
  EXPECT_THAT(page, HasSubstr("recall below 50 %: more than half of its images are missed: </strong>elm<"));
  EXPECT_THAT(page, HasSubstr("the 95 % interval of recall reaches below 50 %: </strong>ash<"));
  EXPECT_THAT(page, HasSubstr("no test image: </strong>fir<"));
  EXPECT_THAT(page, HasSubstr("7 of 153 test images are in the memory too"));
}

TEST(EvalReport, APrecisionBelowHalfAndOneThatMayBeAreTold) {
  const auto of = [](double precision, double low) {
    return doubts_text({{"memory", 9}, {"recall", 0.9}, {"interval95", {0.7, 1}}, {"precision", precision}, {"precision95", {low, 1}}});
  };
  EXPECT_EQ(of(0.49, 0.3), "precision below 50 %: more than half of the images given this label are wrong");
  EXPECT_EQ(of(0.5, 0.3), "too few predictions: the 95 % interval of precision reaches below 50 %");
  EXPECT_EQ(of(0.6, 0.5), "yes");
}

TEST(EvalReport, AllThatSpeaksAgainstAClassIsTold) {
  const json row = {{"name", "elm"},
                    {"memory", 9},
                    {"queries", 4},
                    {"recall", 0.75},
                    {"interval95", {0.3, 0.95}},
                    {"precision", 0.08},
                    {"precision95", {0.02, 0.2}}};
  EXPECT_EQ(doubts_of(row), (std::vector{Doubt::kLowPrecision, Doubt::kUnsureRecall}));
  EXPECT_EQ(
      doubts_text(row),
      "precision below 50 %: more than half of the images given this label are wrong; too few test images: the 95 % interval of recall "
      "reaches below 50 %");
  json results = small_results();
  json& classes = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"]["classes"];
  classes.push_back(row);
  classes.back()["name"] = "yew";
  const std::string verdict = section_of(eval_report_html(results), "verdict");
  EXPECT_THAT(verdict, HasSubstr("more than half of the images given this label are wrong: </strong>elm, yew<"));
  EXPECT_THAT(verdict, HasSubstr("the 95 % interval of recall reaches below 50 %: </strong>ash, yew<"));
}

TEST(EvalReport, TheMajorityClassStandsBesideTheAccuracy) {
  const std::string page = eval_report_html(small_results());
  EXPECT_THAT(section_of(page, "verdict"), HasSubstr("on 153 test images (always predicting the most frequent class: 36.04 %)"));
  EXPECT_THAT(section_of(page, "methods"), HasSubstr("<th scope=\"row\">majority class</th><td></td>"));  // of the table of k, too
}

TEST(EvalReport, OneTestedClassHasNoVerdict) {
  json results = small_results();
  json& scores = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"];
  for (json& row : scores["classes"])
    if (row["name"] != "oak") row["queries"] = 0;
  const std::string verdict = section_of(eval_report_html(results), "verdict");
  EXPECT_THAT(verdict, HasSubstr("no verdict, because all 153 test images are of one class, oak"));
  EXPECT_THAT(verdict, Not(HasSubstr("Accuracy 66.04 %")));
}

TEST(EvalReport, WithLeaksTheNumberWithoutThemStandsBeside) {
  json results = small_results();
  results["checks"]["leaks"] = {{"queries", 22}, {"of", 153}, {"file", "leaks.csv"}};
  json& scores = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"];
  scores["without_leaks"] = {{"count", 131},
                             {"accuracy", 0.4141},
                             {"interval95", {0.3131, 0.5151}},
                             {"balanced_accuracy", 0.3232},
                             {"bootstrap95", {{"balanced_accuracy", {0.2121, 0.4343}}}}};
  results["majority"]["without_leaks"] = {{"accuracy", 0.2929}};
  std::string page = eval_report_html(results);
  expect_good_page(page);
  EXPECT_THAT(
      section_of(page, "verdict"),
      HasSubstr("Without the 22 test images that are leaks (of which training images have a copy or the group): balanced accuracy 32.32 % "
                "[21.21, 43.43], accuracy 41.41 % [31.31, 51.51] on 131 images (always predicting the most frequent class: 29.29 %)."));
  EXPECT_THAT(section_of(page, "checks"), HasSubstr("<code>leaks.csv</code>"));
  EXPECT_THAT(section_of(page, "next"), HasSubstr("22 of 153 are copies of training images"));
  scores["without_leaks"] = nullptr;
  scores["undefined"]["without_leaks"] = "none is left";
  EXPECT_THAT(section_of(eval_report_html(results), "verdict"), HasSubstr("the group): none is left."));
}

TEST(EvalReport, FewTestImagesAreNoHeadlineWhereThereAreFolds) {
  json results = small_results();
  results["checks"]["test_size"] = {{"images", 16}, {"per_class", 8}, {"few", true}};
  const auto of = [](double mean) { return json{{"mean", mean}, {"interval95", {mean - 0.1, mean + 0.1}}}; };
  json& result = results["suites"]["linear"]["results"][0];
  result["repeated_folds"] = {{"folds", 5},
                              {"repeats", 5},
                              {"images", 808},
                              {"units", "groups"},
                              {"majority", {{"balanced_accuracy", of(0.25)}, {"accuracy", of(0.6262)}}},
                              {"methods", {{"logit_adjusted", {{"balanced_accuracy", of(0.6363)}, {"accuracy", of(0.7373)}}}}}};
  const std::string verdict = section_of(eval_report_html(results), "verdict");
  EXPECT_THAT(verdict,
              HasSubstr("<strong>logistic regression, logit-adjusted on features of the checkpoint: balanced accuracy 63.63 % [53.63, "
                        "73.63] (majority class: 25.00 %), accuracy 73.73 % [63.73, 83.73] (majority class: 62.62 %) in 5 x 5-fold "
                        "cross-validation of the 808 training images, by whole groups</strong>"));
  EXPECT_THAT(verdict, HasSubstr("The 153 test images (8 a class) are too few for a headline. On them: balanced accuracy 58.88 %"));
  result["repeated_folds"]["classes_left_out"] = {"fir", "yew"};
  EXPECT_THAT(section_of(eval_report_html(results), "verdict"),
              HasSubstr("; without 2 of the classes, which have not two training images"));
  results["checks"]["test_size"]["few"] = false;
  EXPECT_THAT(section_of(eval_report_html(results), "verdict"), HasSubstr("checkpoint: balanced accuracy 58.88 %"));
}

TEST(EvalReport, FeaturesNearCollapseAreAnAlarmInTheVerdict) {
  json results = small_results();
  EXPECT_THAT(section_of(eval_report_html(results), "verdict"), Not(HasSubstr("alarm")));
  json& health = results["feature_health"][0];
  health["dim"] = 128;
  health["effective_rank"] = 1.6;
  health["mean_cosine"] = 0.997;
  const std::string page = eval_report_html(results);
  const std::string alarm =
      "alarm: features are near collapse: effective rank 1.6 of 128 dimensions, mean cosine 0.997 between any two images";
  EXPECT_THAT(section_of(page, "health"), HasSubstr(alarm));
  EXPECT_THAT(section_of(page, "verdict"), HasSubstr("features of the checkpoint: " + alarm));
  health["effective_rank"] = 11;
  EXPECT_THAT(section_of(eval_report_html(results), "health"), HasSubstr("near collapse: mean cosine 0.997"));
}

TEST(EvalReport, TheVerdictSaysWhetherTheCheckpointIsBetterThanItsBaselines) {
  json results = small_results();
  json& difference = results["comparisons"][0]["difference95"]["balanced_accuracy"];
  EXPECT_THAT(eval_report_html(results), HasSubstr("; the checkpoint is better"));
  difference = {-0.02, 0.01};
  EXPECT_THAT(eval_report_html(results), HasSubstr("; the difference is not significant on this test set"));
  difference = {-0.07, -0.01};
  json& test = results["comparisons"][0]["mcnemar"];
  std::swap(test["only_first_right"], test["only_second_right"]);
  EXPECT_THAT(eval_report_html(results), HasSubstr("; the checkpoint is worse"));
  std::swap(results["comparisons"][0]["first"], results["comparisons"][0]["second"]);
  EXPECT_THAT(eval_report_html(results), HasSubstr("; the checkpoint is better"));
}

TEST(EvalReport, BetterIsWhatBothPairedTestsSee) {
  json results = small_results();
  json& comparison = results["comparisons"][0];
  const auto verdict = [&] {
    const std::string page = eval_report_html(results);
    const size_t begin = page.find("the same on untrained network");
    return page.substr(begin, page.find("</li>", begin) - begin);
  };
  EXPECT_THAT(verdict(), HasSubstr("; the checkpoint is better"));
  for (const json& p : {json(0.05), json(0.7), json(nullptr)}) {
    comparison["mcnemar"]["p"] = p;
    EXPECT_THAT(verdict(), HasSubstr("; the difference is not significant on this test set"));
  }
  comparison["mcnemar"] = {{"only_first_right", 8}, {"only_second_right", 37}, {"p", 1.6e-05}};
  EXPECT_THAT(verdict(), HasSubstr("; undecided: balanced accuracy and accuracy favour different methods"));
  comparison["difference95"]["balanced_accuracy"] = nullptr;
  comparison["difference95"]["undefined"]["balanced_accuracy"] = "all the same";
  EXPECT_THAT(verdict(), HasSubstr("; the difference has no interval: all the same"));
}

TEST(EvalReport, AnIntervalThatIsNotThereOrSaysLittleIsSaidToBeSo) {
  json results = small_results();
  json& scores = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"];
  scores["bootstrap95"]["balanced_accuracy"] = nullptr;
  scores["bootstrap95"]["undefined"]["balanced_accuracy"] = "resamples without spread";
  scores["bootstrap95_note"] = "a note on them";
  results["comparisons"][0]["difference95_note"] = "a note on the pair";
  results["comparisons"][0]["mcnemar"]["note"] = "a note on the test";
  const std::string page = eval_report_html(results);
  expect_good_page(page);
  EXPECT_THAT(page, HasSubstr("<p>Balanced accuracy has no interval: resamples without spread</p><p>Its interval: a note on them</p>"));
  EXPECT_THAT(page, HasSubstr("<abbr title=\"no interval: resamples without spread\">58.88</abbr>"));
  EXPECT_THAT(page, HasSubstr("<strong>logistic regression, logit-adjusted on checkpoint: </strong>a note on them"));
  EXPECT_THAT(page, HasSubstr("logit-adjusted on untrained network: </strong>a note on the pair"));
  EXPECT_THAT(page, HasSubstr("a note on the test"));
}

TEST(EvalReport, TheVerdictsMethodIsNotChosenByItsScore) {
  json results = small_results();
  for (const double better : {0.0, 0.9}) {
    results["suites"]["linear"]["results"][0]["methods"]["plain"]["balanced_accuracy"] = better;
    EXPECT_THAT(eval_report_html(results), HasSubstr("<strong>logistic regression, logit-adjusted on"));
  }
  results["suites"].erase("linear");
  EXPECT_THAT(eval_report_html(results), HasSubstr("<strong>k-NN on"));
}

TEST(EvalReport, SweepAndFineTuningAloneHaveAVerdictOfTheirOwnOrder) {
  json results = small_results();
  for (const char* step : {"linear", "knn", "few"}) results["suites"].erase(step);
  json scores = scores_of(0.01);
  results["suites"]["finetune"]["results"] = {
      {{"name", "teacher"}, {"methods", {{"bitfit", scores_of(0.1)}, {"full", scores_of(0.2)}, {"lora", scores_of(0)}}}}};
  EXPECT_THAT(eval_report_html(results), HasSubstr("<strong>fine-tuning, LoRA on features of the checkpoint: balanced accuracy 58.88 %"));
  results["suites"]["sweep"]["results"] = {{{"name", "teacher"}, {"methods", {{"best_head", scores}}}}};
  const std::string page = eval_report_html(results);
  expect_good_page(page);
  EXPECT_THAT(page, HasSubstr("<strong>linear probe, best head on features of the checkpoint: balanced accuracy 59.88 %"));
  EXPECT_THAT(page,
              HasSubstr("first of these methods that was run: logistic regression, logit-adjusted; logistic regression; SimpleShot; k-NN, "
                        "class-balanced vote; k-NN; linear probe, best head; fine-tuning, linear probe first; fine-tuning, LoRA;"));
  // and what is in no order has no verdict
  for (const char* step : {"sweep", "finetune"}) results["suites"].erase(step);
  results["suites"]["novel"]["results"] = {{{"name", "teacher"}, {"methods", {{"trick", scores}}}}};
  EXPECT_THAT(eval_report_html(results), HasSubstr("None of the methods that a verdict is based on"));
}

}  // namespace
}  // namespace dinoxx::report
