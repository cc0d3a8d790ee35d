// Pages of results that are hostile, damaged, incomplete, of a kind that no section knows, or very many.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>

#include "page_checks.hpp"
#include "report/eval/eval_report.hpp"
#include "results.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

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

}  // namespace
}  // namespace dinoxx::report
