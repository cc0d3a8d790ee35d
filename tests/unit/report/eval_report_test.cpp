#include "report/eval/eval_report.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <functional>
#include <set>

#include "dinoxx/base/error.hpp"
#include "page_checks.hpp"
#include "report/run/run_figures.hpp"
#include "results.hpp"
#include "support/memory_dataset.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using testing::AllOf;
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

TEST(EvalReport, WhichLabelsWouldHelpIsSaid) {
  json results = small_results();
  const auto next = [&] { return section_of(eval_report_html(results), "next"); };
  EXPECT_THAT(next(), HasSubstr("Label what has no label: </strong>5 images"));
  json& classes = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"]["classes"];
  classes[1]["recall"] = 0.75;
  classes[1]["interval95"] = {0.3, 0.95};
  classes[1]["queries"] = 4;
  EXPECT_THAT(next(), HasSubstr("Label more test images: </strong>" + classes[1]["name"].get<std::string>() + " (4 test images)"));
  const auto rises = [&](double low) {
    json& curve = results["suites"]["few"]["results"][0]["curve"];
    curve[0]["methods"]["simpleshot"]["balanced_accuracy"] = {{"mean", 0.31}, {"interval95", {0.30, 0.32}}};
    curve[1]["methods"]["simpleshot"]["balanced_accuracy"] = {{"mean", 0.34}, {"interval95", {low, 0.36}}};
    for (const char* other : {"nearest_mean", "logistic"})
      for (json& point : curve) point["methods"].erase(other);
    return next();
  };
  EXPECT_THAT(rises(0.33), AllOf(HasSubstr("Label more of every class: </strong>from 1 to 2 labelled images per class"),
                                 HasSubstr("still gained, 31.00 % to 34.00 %")));
  EXPECT_THAT(rises(0.31), HasSubstr("More labels of every class may not help"));
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

TEST(EvalReport, TheMapMarksMistakesAndNamesImages) {
  json results = small_results();
  results["evidence"]["map"] = {{"images", 3},
                                {"of", 9},
                                {"rule", "some"},
                                {"neighbours", 10},
                                {"by_chance", 0.25},
                                {"file", "feature_map.csv"},
                                {"pca", {{"explained", {0.5, 0.125}}, {"kept_neighbours", 0.5}}},
                                {"tsne", {{"perplexity", 30}, {"kept_neighbours", 0.75}}}};
  const std::string table = "image,label,answer,pca_1,pca_2,tsne_1,tsne_2\n<a>.png,x,x,0,0,1,1\nb.png,x,y,1,1,2,-3\nc.png,y,y,0.5,2,0,0\n";
  const std::string map = section_of(eval_report_html(results, nullptr, {{"map", table}}), "map");
  EXPECT_THAT(map, HasSubstr("3 of 9 test images"));
  EXPECT_THAT(map, HasSubstr("<title>b.png: x, predicted y</title>"));
  EXPECT_THAT(map, HasSubstr("<title>&lt;a&gt;.png: x</title>"));
  EXPECT_THAT(map, HasSubstr("3 images, 1 of them with a wrong answer"));
  EXPECT_THAT(map, HasSubstr("x (1 of 2 wrong)"));
  EXPECT_THAT(map, HasSubstr("62.50 % of the variance; 50.00 % of the 10 nearest"));
  EXPECT_THAT(map, HasSubstr("perplexity 30; 75.00 %"));
  // a table that is not there, cut off, of other columns or without numbers: the page goes without it
  for (const std::string damaged : {"", "image,label\na.png,x\n", "image,label,answer,pca_1,pca_2,tsne_1,tsne_2\n\"a",
                                    "image,label,answer,pca_1,pca_2,tsne_1,tsne_2\na,x,x,0,0,nan,1\n"})
    EXPECT_THAT(section_of(eval_report_html(results, nullptr, {{"map", damaged}}), "map"), HasSubstr("Not run")) << damaged;
  results["evidence"]["map"] = {{"left_out", "11 test images are too few for a map"}};
  EXPECT_THAT(section_of(eval_report_html(results), "map"), HasSubstr("Left out: 11 test images"));
}

TEST(EvalReport, ARuleOfDecisionStandsBesideTheMostProbableClass) {
  json results = small_results();
  const std::string page = eval_report_html(results);
  EXPECT_THAT(page, HasSubstr("ash from the probability 0.0727 on, for a recall of 95.00 %; else the most probable other class."));
  EXPECT_THAT(
      page, HasSubstr("chosen on 17 images of ash (val split), of which it finds 16: with 95 % confidence at least 74.75 % of new ones."));
  EXPECT_THAT(page, HasSubstr("Note: too few to be sure."));
  EXPECT_THAT(page, HasSubstr("94.94 [89.89, 98.98]"));
  EXPECT_THAT(page, HasSubstr("59.59 [53.53, 64.64]"));
  for (const char* reason : {"no image of the class", "no image is answered so"}) EXPECT_THAT(page, HasSubstr(reason));
  json& decision = results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"]["decision"];
  decision["rule"] = {{"kind", "cost"}};
  decision["test"]["rule"] = {{"mean_cost", 0.3773}, {"interval95", {{"mean_cost", {0.3131, 0.4343}}}}};
  const std::string of_costs = eval_report_html(results);
  EXPECT_THAT(of_costs, HasSubstr("least expected cost"));
  EXPECT_THAT(of_costs, HasSubstr("0.377 [0.313, 0.434]"));
  results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"].erase("decision");
  EXPECT_THAT(eval_report_html(results), Not(HasSubstr("Decision rule")));  // nobody asked for one
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
  EXPECT_THAT(page, HasSubstr("<summary>oak, predicted a, &quot;b&quot;: 1 test images</summary><div id=\"confused-1\">"));
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
