#include "report/eval/eval_report.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <set>

#include "dinoxx/base/error.hpp"
#include "page_checks.hpp"
#include "report/eval/eval_sections.hpp"
#include "report/run/run_figures.hpp"
#include "results.hpp"
#include "support/memory_dataset.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

void each_number(const json& value, const std::function<void(double)>& visit) {
  if (value.is_number()) visit(value.get<double>());
  if (value.is_structured())
    for (const auto& item : value.items()) each_number(item.value(), visit);
}

// The numbers of all cells that hold numbers, and all with two decimals in the verdict.
std::vector<std::string> numbers_shown(const std::string& page) {
  std::vector<std::string> numbers;
  static const std::regex kCell("class=\"[a-z ]*\\bn\">([^<]*)<"), kNumber("-?[0-9][0-9,]*(?:\\.[0-9]+)?(?:e[-+][0-9]+)?");
  std::vector<std::string> places;
  for (auto it = std::sregex_iterator(page.begin(), page.end(), kCell); it != std::sregex_iterator(); ++it) places.push_back((*it)[1]);
  EXPECT_GT(places.size(), 100u);
  for (std::string place : places)
    for (auto it = std::sregex_iterator(place.begin(), place.end(), kNumber); it != std::sregex_iterator(); ++it) {
      std::string number = it->str();
      if (number.back() == ',') number.pop_back();  // of an interval
      numbers.push_back(number);
    }
  const size_t begin = page.find("id=\"verdict\""), end = page.find("<section", begin);
  const std::string verdict = page.substr(begin, end - begin);
  static const std::regex kShare("-?[0-9]+\\.[0-9][0-9]\\b");
  for (auto it = std::sregex_iterator(verdict.begin(), verdict.end(), kShare); it != std::sregex_iterator(); ++it)
    numbers.push_back(it->str());
  return numbers;
}

// The text between a heading and the next section.
std::string section_of(const std::string& page, const std::string& id) {
  const size_t begin = page.find("id=\"" + id + "\"");
  return begin == std::string::npos ? "" : page.substr(begin, page.find("</section>", begin) - begin);
}

TEST(EvalReport, EveryNumberIsOneOfTheResults) {
  const json results = small_results();
  std::set<std::string> known;
  each_number(results, [&](double v) {
    known.insert(percent(v));
    known.insert(grouped(std::llround(v)));
    for (int digits = 2; digits <= 9; ++digits) known.insert(figure(v, digits));
  });
  const std::string page = eval_report_html(results);
  for (const std::string& number : numbers_shown(page)) EXPECT_TRUE(known.contains(number)) << number;
  // and those that a reader looks for are there
  for (const char* number : {"58.88 % [50.11, 66.22]",
                             "41.71 %",
                             "66.04 % [58.13, 73.07]",
                             "81.23 [75.12, 84.45]",
                             "62.22 [57.22, 66.22]",
                             "34.02 [33.31, 34.74]",
                             "0.0911",
                             "0.0311",
                             "0.0222",
                             "37.37",
                             "[9.17, 21.83]",
                             "1.6e-05",
                             "0.99123",
                             "0.2468",
                             "1.358",
                             "77.5",
                             "92.92",
                             "48.48",
                             "54.54",
                             "47.5",
                             "0.677",
                             "1.56",
                             "-1.72",
                             "21",
                             "76.76 %",
                             "0.919",
                             "0.949",
                             "19",
                             "73.73 [71.71, 75.75]",
                             "51.51",
                             "31.31 [29.29, 33.33]",
                             "39.39"})
    EXPECT_THAT(page, HasSubstr(number));
}

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

TEST(EvalReport, TheTitleNamesTheData) {
  json results = small_results();
  const auto title = [&] {
    const std::string page = eval_report_html(results);
    const size_t begin = page.find("<title>") + 7;
    return page.substr(begin, page.find("</title>", begin) - begin);
  };
  EXPECT_THAT(title(), HasSubstr("Evaluation on trees"));
  results["data"]["path"] = "data/trees/";
  EXPECT_THAT(title(), HasSubstr("Evaluation on trees"));
  results["data"]["name"] = "birds of the garden";  // what was packed
  EXPECT_THAT(title(), HasSubstr("Evaluation on birds of the garden"));
}

TEST(EvalReport, WhatToDoNextIsSaid) {
  json results = small_results();
  results["checks"]["class_names"]["pairs"] = json::array({json::array({"Oak", "oak "})});
  results["checks"]["label_conflicts"]["pictures"] = 3;
  results["evidence"]["labels"]["file"] = "suspects.csv";
  const std::string next = section_of(eval_report_html(results), "next");
  EXPECT_THAT(next, HasSubstr("nothing is known about fir: no test image"));
  EXPECT_THAT(next, HasSubstr("&quot;Oak&quot; and &quot;oak &quot;"));
  EXPECT_THAT(next, HasSubstr("3 pictures stand in the data under two labels"));
  EXPECT_THAT(next, HasSubstr("suspects.csv"));
  json& scores = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"];
  scores["confusion"].push_back({{"class", "elm"}, {"predicted", "oak"}, {"images", 12}});
  scores["classes"][2]["recall"] = 0.3;
  const std::string more = section_of(eval_report_html(results), "next");
  EXPECT_THAT(more, HasSubstr("elm taken for oak (12 of 29)"));
  EXPECT_THAT(more, Not(HasSubstr("oak taken for elm")));  // 19 of 113
  EXPECT_THAT(more, HasSubstr("Label more images: </strong>ash (17 training images)"));
}

TEST(EvalReport, WhatAProtocolWasWorthStandsBesideItsTime) {
  json results = small_results();
  results["run"]["seconds"]["linear"] = 77.5;
  results["comparisons"].push_back({{"first", {"linear", "teacher", "logit_adjusted"}},
                                    {"second", {"knn", "teacher", "vote"}},
                                    {"mcnemar", {{"only_first_right", 41}, {"only_second_right", 6}, {"p", 2.7e-07}}},
                                    {"difference95", {{"balanced_accuracy", {-0.0222, 0.0333}}}}});
  const auto row = [&] {
    const std::string next = section_of(eval_report_html(results), "next");
    const size_t begin = next.find("<th scope=\"row\">logistic</th>");
    return begin == std::string::npos ? "" : next.substr(begin, next.find("</tr>", begin) - begin);
  };
  EXPECT_THAT(row(), HasSubstr("77.5"));
  EXPECT_THAT(row(), HasSubstr("[-2.22, 3.33]"));
  EXPECT_THAT(row(), HasSubstr("not on these test images"));
  results["comparisons"].back()["difference95"]["balanced_accuracy"] = {0.0111, 0.0333};
  EXPECT_THAT(row(), HasSubstr("<td>yes</td>"));
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

TEST(EvalReport, LeaksAreLookedForBetweenAllThreeSplits) {
  const std::string checks = section_of(eval_report_html(small_results()), "checks");
  for (const char* row :
       {"validation images that are also in train</th><td>9, 4 of them", "test images that are also in validation</th><td>5, 3 of them",
        "groups in train and test</th><td>no groups here", "groups in train and validation</th><td>12 groups, 34 validation images",
        "groups in validation and test</th><td>14 groups, 36 test images",
        "test images with a near neighbour in train</th><td>13 of 153 have a cosine of 0.98",
        "validation images with a near neighbour in train</th><td>16 of 77 have a cosine of 0.98 or more (teacher features",
        "test images with a near neighbour in validation</th><td>18 of 151 have"})
    EXPECT_THAT(checks, HasSubstr(row));
}

TEST(EvalReport, MethodsHaveTheirCostOrThatOfTheirStep) {
  const std::string methods = section_of(eval_report_html(small_results()), "methods");
  EXPECT_THAT(methods, HasSubstr(">12.75</td>"));           // its own
  EXPECT_THAT(methods, HasSubstr(">protocol: 3.25</td>"));  // of k-NN as a whole
  EXPECT_THAT(methods, HasSubstr("Peak memory of rank 0 over the whole evaluation: 1.15 GiB"));
}

TEST(EvalReport, ClassesOfMostTrainingImagesComeFirstInMatrixAndHistogram) {
  json results = small_results();
  json& classes = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"]["classes"];
  std::reverse(classes.begin(), classes.end());
  classes[0]["memory"] = nullptr;  // a class that says nothing is last
  const std::string page = eval_report_html(results);
  EXPECT_THAT(section_of(page, "confusion"), HasSubstr("<th scope=\"col\">class</th><th scope=\"col\">oak</th><th scope=\"col\">elm</th>"
                                                       "<th scope=\"col\">ash</th><th scope=\"col\">fir</th>"));
  const std::string data = section_of(page, "data");
  EXPECT_LT(data.find(">oak</th>"), data.find(">elm</th>"));
  EXPECT_LT(data.find(">ash</th>"), data.find(">fir</th>"));
}

TEST(EvalReport, EvidenceNamesWhatItShows) {
  const std::string page = eval_report_html(small_results(), nullptr, {}, {{"features_1_pca.png", "bytes of a PNG"}});
  EXPECT_THAT(page, HasSubstr("oak, predicted elm with a probability of 0.97"));
  EXPECT_THAT(page, HasSubstr("train/7.png"));  // by name where there is no data set
  EXPECT_THAT(page, HasSubstr("labelled elm, neighbours suggest oak"));
  EXPECT_THAT(page, HasSubstr("A person has to look at them"));
  EXPECT_THAT(page, HasSubstr("src=\"data:image/png;base64,Ynl0ZXMgb2YgYSBQTkc=\" alt=\"the patches of test/1.png"));
  EXPECT_THAT(page, Not(HasSubstr("as it enters the network")));  // that file is not there
  for (const char* reason : {"not one of it", "no two of a class"}) EXPECT_THAT(page, HasSubstr(reason));
  EXPECT_THAT(page, Not(HasSubstr("alarm: ")));
  json collapsed = small_results();
  collapsed["feature_health"][0]["deviation"] = 0.0041;
  EXPECT_THAT(eval_report_html(collapsed), HasSubstr("alarm: nearly the same feature for all images"));
}

TEST(EvalReport, AStepThatNoSectionKnowsIsShownAsTablesAndLists) {
  json results = small_results();
  const json videos = {{{"name", "video a"}, {"J", 0.7171}, {"frames", 24}},
                       {{"name", "video b"}, {"J", nullptr}, {"undefined", {{"J", "it is empty"}}}}};
  results["suites"]["novel"]["results"] = {{{"name", "teacher"},
                                            {"methods", {{"trick", scores_of(0.0123)}}},
                                            {"films", videos},
                                            {"settings", {{"radius", 12}, {"interval", {0.1414, 0.2424}}}},
                                            {"by_rate", {{"0.1", {{"accuracy", 0.5353}}}, {"0.2", {{"accuracy", 0.5656}}}}},
                                            {"left_out", "half of it"}}};
  const std::string page = eval_report_html(results);
  expect_good_page(page);
  for (const char* part :
       {"novel, trick", "video b", "0.7171", "it is empty", "[0.1414, 0.2424]", "0.5656", "<th scope=\"row\">0.2</th>", "half of it"})
    EXPECT_THAT(page, HasSubstr(part));
}

TEST(EvalReport, PlacesFoundAgainAndDifferencesOfPatchesAreTables) {
  json results = small_results();
  const auto of_shares = [](double a, double b, double c) { return json{{"0.05", a}, {"0.1", b}, {"0.2", c}}; };
  results["suites"]["match"]["results"] = {{{"name", "teacher"},
                                            {"points", 4321},
                                            {"pck", of_shares(0.1234, 0.2345, 0.3456)},
                                            {"mutual", {{"share", 0.5}, {"pck", of_shares(0.4, 0.4567, 0.6)}}},
                                            {"best_of_grid", of_shares(0.7, 0.8765, 1)},
                                            {"chance", of_shares(0.01, 0.0357, 0.1)},
                                            {"bootstrap95", {{"0.1", {0.2222, 0.2444}}}}}};
  results["suites"]["linseg"]["paired"] = {
      {{"figure", "object_miou"}, {"first", "teacher"}, {"second", "raw"}, {"difference", 0.0717}, {"interval95", {0.0515, 0.0919}}}};
  const std::string page = eval_report_html(results);
  expect_good_page(page);
  for (const char* part : {"4,321", "23.45 [22.22, 24.44]", "45.67", "87.65", "3.57", "object_miou", "7.17 [5.15, 9.19]"})
    EXPECT_THAT(page, HasSubstr(part));
}

TEST(EvalReport, IsAGoodPage) {
  expect_good_page(eval_report_html(small_results()));
  expect_good_page(eval_report_html(json::object()));
}

TEST(EvalReport, ReasonsStandWhereNumbersDoNot) {
  const std::string page = eval_report_html(small_results());
  for (const char* reason : {"because it is so", "no groups here", "classes of checkpoint: too many multiplications", "mostly undefined",
                             "too large", "a fit would be too large"})
    EXPECT_THAT(page, HasSubstr(reason));
  EXPECT_THAT(page, HasSubstr("<strong>finetune</strong>"));  // not run
  EXPECT_THAT(page, Not(HasSubstr("<strong>knn</strong>")));
  EXPECT_THAT(section_of(page, "not-run"), Not(HasSubstr("video")));
}

void make_hostile(json& value, const std::string& what) {
  if (value.is_string()) value = value.get<std::string>() + what;
  if (value.is_structured())
    for (auto& item : value) make_hostile(item, what);
}

TEST(EvalReport, NothingFromDataBecomesMarkup) {
  const std::string hostile = "<script>alert('x')</script><b x=\"1\">&\xFF";
  json results = small_results();
  make_hostile(results, hostile);
  results["suites"]["x" + hostile] = {
      {"results", {{{"name", "n" + hostile}, {"methods", {{"m" + hostile, scores_of(0)}}}, {"key" + hostile, hostile}}}},
      {"protocol", {{hostile, hostile}}}};
  const std::string page = eval_report_html(results);
  expect_good_page(page);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<b x")));
  EXPECT_THAT(page, HasSubstr("oak&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&lt;b x=&quot;1&quot;&gt;&amp;\uFFFD"));
}

// Every place of the results replaced by something else, one at a time.
void damage(const json& whole, const json::json_pointer& at, int depth, const std::function<void(const json&)>& use) {
  for (const json& other : {json(nullptr), json("x"), json(3), json::array({1}), json::object()}) {
    json damaged = whole;
    damaged[at] = other;
    use(damaged);
  }
  const json& value = whole[at];
  if (depth == 0 || !value.is_structured()) return;
  if (value.is_array() && !value.empty()) damage(whole, at / 0, depth - 1, use);
  if (value.is_object())
    for (const auto& item : value.items()) damage(whole, at / item.key(), depth - 1, use);
}

TEST(EvalReport, AnySectionMayBeMissingOrOfAnotherForm) {
  json results = small_results();  // one embedder, one method of each: the others take the same way
  for (json& suite : results["suites"])
    while (suite["results"].size() > 1) suite["results"].erase(1);
  results["suites"]["linear"]["results"][0]["methods"].erase("plain");
  int tried = 0;
  for (const auto& item : results.items())
    damage(results, json::json_pointer("/" + item.key()), item.key() == "suites" ? 6 : 3, [&](const json& damaged) {
      ++tried;
      EXPECT_NO_THROW(eval_report_html(damaged)) << json::diff(results, damaged).dump();
    });
  EXPECT_GT(tried, 500);
}

TEST(EvalReport, ResultsOfTheKnnSuiteAloneAreShown) {
  json results = small_results();
  for (const char* step : {"few", "linear", "zero"}) results["suites"].erase(step);
  for (const char* key : {"comparisons", "checks", "majority"}) results.erase(key);
  for (json& result : results["suites"]["knn"]["results"]) {
    result["headline"] = {{"k", 20}, {"accuracy", 0.6222}, {"interval95", {0.57, 0.66}}, {"balanced_accuracy", 0.6001}};
    result["classes"] = {{{"name", "oak"}, {"memory", 60}, {"queries", 8}, {"recall", 0.55}, {"interval95", {0.2, 0.8}}},
                         {{"name", "elm"}, {"memory", 40}, {"queries", 4}, {"recall", 0.65}, {"interval95", {0.3, 0.9}}}};
    result.erase("methods");
  }
  const std::string page = eval_report_html(results);
  expect_good_page(page);
  EXPECT_THAT(page, HasSubstr("balanced accuracy 60.01 %"));
  EXPECT_THAT(page, HasSubstr("55.00 [20.00, 80.00]"));
}

TEST(EvalReport, ManyClassesAreFoldedAway) {
  json results = small_results();
  json& classes = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"]["classes"];
  for (int i = 0; i < 2000; ++i)
    classes.push_back(
        {{"name", fmt::format("kind{}", i)}, {"memory", i}, {"queries", 10}, {"recall", 0.25 + i * 0.0001}, {"interval95", {0.1, 0.6}}});
  const std::string page = eval_report_html(results);
  expect_good_page(page);
  EXPECT_THAT(page, HasSubstr("<summary>all 2004 classes</summary>"));
  EXPECT_THAT(page, HasSubstr("and 1970 more (table below)"));  // kind0 has no training image; elm is missed too
}

std::shared_ptr<testing_support::MemoryDataset> pictures() {
  auto dataset = std::make_shared<testing_support::MemoryDataset>();
  dataset->set_class_names({"oak", "<elm>"});
  Image image{200, 100, std::vector<uint8_t>(200 * 100 * 3, 77)};
  for (int i = 0; i < 5; ++i) dataset->add_image(Split::kTrain, i % 2, image);
  return dataset;
}

TEST(EvalReport, PicturesComeFromTheDataSet) {
  const auto dataset = pictures();
  json results = small_results();
  results["checks"]["near_identical"]["examples"][0]["image"] = "image3.png";
  const std::map<std::string, std::string> predictions{
      {"linear", "id,key,label,teacher:plain,teacher:logit_adjusted\n0,image0.png,oak,elm,oak\n1,image1.png,oak,oak,\"a, \"\"b\"\"\"\n"}};
  const std::string page = eval_report_html(results, dataset, predictions);
  expect_good_page(page);
  EXPECT_THAT(page, HasSubstr("alt=\"image3.png\""));
  EXPECT_THAT(page, HasSubstr("alt=\"image1.png\">oak, predicted a, &quot;b&quot;"));
  EXPECT_THAT(page, Not(HasSubstr("\">oak, called elm<")));  // another method's mistake
  EXPECT_THAT(page, HasSubstr("&lt;elm&gt;</li>"));
  dataset->set_bytes(0, {1, 2, 3});
  EXPECT_THAT(eval_report_html(results, dataset, predictions), HasSubstr("not readable"));
}

TEST(EvalReport, IsWrittenBesideItsResults) {
  const testing_support::TemporaryFolder folder;
  EXPECT_THROW(write_eval_report(folder.path()), UsageError);
  std::ofstream(folder / "results.json") << "{\"format\": \"other\"}";
  EXPECT_THROW(write_eval_report(folder.path()), UsageError);
  for (const char* format : {"dinoxx propagate", "dinoxx match"}) {
    std::ofstream(folder / "results.json") << json{{"format", format}}.dump();
    try {
      write_eval_report(folder.path());
      ADD_FAILURE() << format;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr(format));
      EXPECT_THAT(error.what(), HasSubstr("which have no page"));
    }
  }
  std::ofstream(folder / "results.json") << small_results().dump();
  EXPECT_EQ(write_eval_report(folder.path()), folder / "report.html");
  EXPECT_EQ(folder.listing(), "report.html results.json");
}

}  // namespace
}  // namespace dinoxx::report
