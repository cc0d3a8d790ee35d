#include "report/page/html.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "page_checks.hpp"
#include "report/page/chart.hpp"

namespace dinoxx::report {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Html, TextCannotBecomeMarkup) {
  EXPECT_EQ(text("<a href=\"x\" b='y'>&amp;").code, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;");
  EXPECT_EQ(text("Eiche Größe 樫 🌳").code, "Eiche Größe 樫 🌳");
  // no UTF-8: a lone tail, an overlong slash, a surrogate, beyond U+10FFFF, cut off; and control characters
  EXPECT_EQ(text("\x80").code, "\uFFFD");
  EXPECT_EQ(text("\xC0\xAF").code, "\uFFFD\uFFFD");
  EXPECT_EQ(text("\xED\xA0\x80").code, "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(text("\xF4\x90\x80\x80").code, "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(text("a\xE2\x82").code, "a\uFFFD\uFFFD");
  EXPECT_EQ(text(std::string("a\0b\x1B", 4)).code, "a\uFFFDb\uFFFD");
  EXPECT_EQ(text("\xC2\x9B").code, "\uFFFD");
}

TEST(Html, TablesHaveCaptionsAndHeadings) {
  Table table("of <trees>", {"name", "count"});
  EXPECT_TRUE(table.empty());
  table.add({words("oak & elm"), number("3")});
  table.add({words("ash"), number("–", "never \"seen\"")});
  const std::string html = table.html().code;
  EXPECT_THAT(html, HasSubstr("<caption>of &lt;trees&gt;</caption>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"col\">count</th>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"row\">oak &amp; elm</th><td class=\"n\">3</td>"));
  EXPECT_THAT(html, HasSubstr("title=\"never &quot;seen&quot;\""));
}

TEST(Html, APageStandsAlone) {
  Page page("a <title>", "b & c");
  page.section("one", "First", paragraph("text"));
  expect_good_page(page.html());
  EXPECT_THAT(page.html(), HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(page.html(), HasSubstr("@media print"));
  EXPECT_THAT(page.html(), HasSubstr("default-src 'none'"));
}

TEST(PageChecks, FindWhatIsWrong) {
  EXPECT_NE(not_well_formed("<p><b>x</p></b>"), "");
  EXPECT_NE(not_well_formed("<p>a & b</p>"), "");
  EXPECT_NE(not_well_formed("<p title=\"<b>\">a</p>"), "");
  EXPECT_NE(not_well_formed("<p>"), "");
  EXPECT_NE(not_self_contained("<img src=\"https://x/y.png\" alt=\"\">"), "");
  EXPECT_NE(not_self_contained("<p onclick=\"x\">a</p>"), "");
  EXPECT_EQ(not_self_contained("<p>on https://x</p>"), "");
}

Chart line(std::vector<Point> points) {
  return {"Loss", "epoch", "nats", {{"loss", std::move(points)}}};
}

TEST(ChartFigure, NothingToShowIsNoFigure) {
  EXPECT_EQ(figure_of(line({})).code, "");
  EXPECT_EQ(figure_of(line({{1, NAN, {}, {}, ""}})).code, "");
  Chart log = line({{0, 1, {}, {}, ""}});
  log.log_x = true;
  EXPECT_EQ(figure_of(log).code, "");
}

TEST(ChartFigure, SaysInWordsWhatItShows) {
  const std::string svg = figure_of(line({{1, 3, {}, {}, ""}, {2, 1, {}, {}, ""}, {3, 2, {}, {}, ""}})).code;
  EXPECT_EQ(not_well_formed(svg), "");
  EXPECT_THAT(svg, HasSubstr("<title>Loss</title><desc>nats against epoch. loss: from 3 at 1 to 2 at 3, between 1 and 3.</desc>"));
}

TEST(ChartFigure, OnePointAndEqualValuesHaveAnAxis) {
  for (const double y : {0.0, 5.0, -2.0}) {
    const std::string svg = figure_of(line({{1, y, {}, {}, ""}})).code;
    EXPECT_EQ(not_well_formed(svg), "");
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

TEST(ChartFigure, ValuesThatDifferInTheirLastBitHaveAnAxisToo) {
  const std::string svg = figure_of(line({{1, 0.225, {}, {}, ""}, {2, 0.22499999999999998, {}, {}, ""}})).code;
  EXPECT_EQ(not_well_formed(svg), "");
  EXPECT_LT(svg.size(), 20000u);
}
TEST(ChartFigure, ThinningKeepsPeaks) {
  std::vector<Point> points;
  for (int i = 0; i < 100000; ++i) points.push_back({static_cast<double>(i), i == 54321 ? 100.0 : 1.0, {}, {}, ""});
  const std::string svg = figure_of(line(points)).code;
  EXPECT_LT(svg.size(), 20000u);
  Chart low = line({{0, 1, {}, {}, ""}, {99999, 100, {}, {}, ""}});
  // the peak's height is the height of the largest value wherever it is
  const std::string reference = figure_of(low).code;
  const size_t at = reference.find("L", reference.find("class=\"s0 l\""));
  const std::string top = reference.substr(reference.find(' ', at), reference.find('"', at) - reference.find(' ', at));
  EXPECT_THAT(svg, HasSubstr(top));
}

}  // namespace
}  // namespace dinoxx::report
