// The test images on a plane by their features.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/csv.hpp"
#include "dinoxx/base/error.hpp"
#include "report/eval/eval_sections.hpp"
#include "report/run/run_charts.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

constexpr double kSide = 440, kEdge = 10;
constexpr size_t kColours = 8;  // of the style sheet

struct Placed {
  std::string image, label, answer;
  double x = 0, y = 0;
  bool right() const { return label == answer; }
};

// The images of the table by two of its columns; none where it is damaged.
std::vector<Placed> placed(const CsvTable& table, const std::string& x, const std::string& y) {
  if (table.rows.empty()) return {};
  const std::vector<std::string>& heading = table.rows.front();
  const auto column = [&](const std::string& name) {
    return static_cast<size_t>(std::find(heading.begin(), heading.end(), name) - heading.begin());
  };
  const size_t image = column("image"), label = column("label"), answer = column("answer"), first = column(x), second = column(y);
  if (std::max({image, label, answer, first, second}) >= heading.size()) return {};
  std::vector<Placed> all;
  for (const std::vector<std::string>& row : table.rows) {
    if (&row == &heading || row.size() != heading.size()) continue;
    const double across = std::strtod(row[first].c_str(), nullptr), up = std::strtod(row[second].c_str(), nullptr);
    if (std::isfinite(across) && std::isfinite(up)) all.push_back({row[image], row[label], row[answer], across, up});
  }
  return all;
}

// The classes that get a colour: those with the most mistakes, as an image's class or as the answer.
std::map<std::string, size_t> colours(const std::vector<Placed>& images) {
  std::map<std::string, int> mistakes;
  for (const Placed& image : images) {
    mistakes[image.label] += image.right() ? 0 : 1;
    if (!image.right()) ++mistakes[image.answer];
  }
  std::vector<std::pair<int, std::string>> order;
  order.reserve(mistakes.size());
  for (const auto& [name, count] : mistakes) order.emplace_back(-count, name);
  std::sort(order.begin(), order.end());
  std::map<std::string, size_t> found;
  for (size_t i = 0; i < std::min(order.size(), kColours); ++i) found[order[i].second] = i;
  return found;
}

std::string mark(double x, double y, const std::string& css, bool right) {
  if (right) return fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\"/>", css, x, y);
  return fmt::format("<path class=\"{} x\" d=\"M{:.1f} {:.1f}l7 7m0-7l-7 7\"/>", css, x - 3.5, y - 3.5);
}

std::string css_of(const std::map<std::string, size_t>& colour, const std::string& label) {
  const auto found = colour.find(label);
  return found == colour.end() ? "other" : fmt::format("s{}", found->second);
}

Html picture_of(const std::vector<Placed>& images, const std::map<std::string, size_t>& colour, const std::string& title,
                const std::string& caption) {
  double low_x = std::numeric_limits<double>::infinity(), high_x = -low_x, low_y = low_x, high_y = -low_x;
  for (const Placed& image : images) {
    low_x = std::min(low_x, image.x), high_x = std::max(high_x, image.x);
    low_y = std::min(low_y, image.y), high_y = std::max(high_y, image.y);
  }
  // one scale for both axes: distances are what is looked at
  const double span = std::max({high_x - low_x, high_y - low_y, 1e-12}), scale = (kSide - 2 * kEdge) / span;
  const auto wrong = std::count_if(images.begin(), images.end(), [](const Placed& image) { return !image.right(); });
  std::string svg = fmt::format("<svg viewBox=\"0 0 {0} {0}\" role=\"img\">", kSide) + element("title", text(title)).code +
                    element("desc", text(fmt::format("{} images, {} of them with a wrong answer", images.size(), wrong))).code;
  for (const bool right : {true, false}) {  // mistakes on top
    for (const Placed& image : images) {
      if (image.right() != right) continue;
      const double x = kSide / 2 + (image.x - (low_x + high_x) / 2) * scale, y = kSide / 2 - (image.y - (low_y + high_y) / 2) * scale;
      const std::string says = right ? fmt::format("{}: {}", image.image, image.label)
                                     : fmt::format("{}: {}, predicted {}", image.image, image.label, image.answer);
      svg += "<g>" + element("title", text(says)).code + mark(x, y, css_of(colour, image.label), right) + "</g>";
    }
  }
  return element("figure", Html{svg + "</svg>"} + element("figcaption", element("strong", text(title)) + text(": " + caption)));
}

Html legend_of(const std::vector<Placed>& images, const std::map<std::string, size_t>& colour) {
  std::map<std::string, std::pair<int, int>> counts;  // images, mistakes
  for (const Placed& image : images) {
    ++counts[image.label].first;
    counts[image.label].second += image.right() ? 0 : 1;
  }
  std::vector<std::string> order(colour.size());
  for (const auto& [name, place] : colour) order[place] = name;
  Html items;
  int others = 0, images_of_others = 0;
  for (const auto& [name, count] : counts)
    if (!colour.contains(name)) ++others, images_of_others += count.first;
  const auto add = [&](const std::string& css, const std::string& words) {
    items += element("li", Html{"<svg viewBox=\"0 0 32 10\" aria-hidden=\"true\">" + mark(16, 5, css, true) + "</svg>"} + text(words));
  };
  for (size_t i = 0; i < order.size(); ++i)
    add(fmt::format("s{}", i), fmt::format("{} ({} of {} wrong)", order[i], counts[order[i]].second, counts[order[i]].first));
  if (others > 0) add("other", fmt::format("{} other classes ({} images)", others, images_of_others));
  return element("ul", items, "class=\"legend\"");
}

}  // namespace

Html map_section(const Results& results, const std::string& table) {
  const json& section = at(results.all(), {"evidence", "map"});
  if (const std::string why = text_of(section, "left_out"); !why.empty()) return paragraph("Left out: " + why + ".");
  if (table.empty()) return {};
  std::vector<Placed> by_components, by_neighbours;
  try {
    const CsvTable all = parse_csv(table, text_of(section, "file"));
    by_components = placed(all, "pca_1", "pca_2");
    by_neighbours = placed(all, "tsne_1", "tsne_2");
  } catch (const Error&) {  // a table that someone has changed: the page goes without it
    return {};
  }
  if (by_components.empty() || by_components.size() != by_neighbours.size()) return {};
  const std::map<std::string, size_t> colour = colours(by_components);
  const json& explained = elements(at(section, {"pca", "explained"}));
  const double of_variance = explained.size() == 2 ? number_or_nan(explained[0]) + number_or_nan(explained[1]) : std::nan("");
  const auto kept = [&](const char* map) {
    return fmt::format("{} % of the {} nearest images of an image are among its {} nearest here",
                       percent(number_of(at(section, {map}), "kept_neighbours")), figure(number_of(section, "neighbours")),
                       figure(number_of(section, "neighbours")));
  };
  return paragraph(fmt::format("{} of {} test images, placed by their features: {}. A dot is an image that {} got right, a cross one that "
                               "it got wrong; hover for its "
                               "name. The colours are of the classes with the most mistakes.",
                               figure(number_of(section, "images"), 9), figure(number_of(section, "of"), 9), text_of(section, "rule"),
                               results.chosen() ? results.chosen()->name() : std::string("the method"))) +
         figures({picture_of(by_neighbours, colour, "t-SNE",
                             fmt::format("perplexity {}; {}", figure(number_of(at(section, {"tsne"}), "perplexity")), kept("tsne"))),
                  picture_of(by_components, colour, "Principal components",
                             fmt::format("the first two, {} % of the variance; {}", percent(of_variance), kept("pca")))}) +
         legend_of(by_components, colour) +
         element("p",
                 text(fmt::format(
                     "By chance {} % of the neighbours would be kept. A plane cannot hold what many dimensions say: groups that touch "
                     "here may be apart for a classifier, and sizes of groups and distances between them in t-SNE mean little. Use "
                     "the pictures to find images to look at, the figures above to judge.",
                     percent(number_of(section, "by_chance")))),
                 "class=\"soft\"");
}

}  // namespace dinoxx::report
