// Which classes are taken for which, and the images of it.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/csv.hpp"
#include "dinoxx/base/error.hpp"
#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

constexpr size_t kMatrixClasses = 40;  // above this a confusion matrix cannot be read
constexpr size_t kPairsShown = 12;
constexpr size_t kPairsListed = 30, kPictures = 6, kNames = 60;  // of each pair

using Pair = std::pair<std::string, std::string>;  // class, predicted
using Listed = std::map<Pair, size_t>;
using Misses = std::vector<std::pair<Pair, std::vector<std::string>>>;

struct Confused {
  std::string label, predicted;
  double images;
};

// "confusion": rows of a matrix, or a list of {"class", "predicted", "images"} of what happened at all.
std::vector<Confused> confusions(const json& scores, const json& classes) {
  std::vector<Confused> all;
  const json& confusion = elements(at(scores, {"confusion"}));
  for (size_t r = 0; r < confusion.size(); ++r) {
    const json& row = confusion[r];
    if (row.is_object()) {
      all.push_back({text_of(row, "class"), text_of(row, "predicted"), number_of(row, "images")});
      continue;
    }
    for (size_t c = 0; c < elements(row).size() && r < classes.size() && c < classes.size(); ++c)
      if (const double images = number_or_nan(row[c]); images > 0)
        all.push_back({text_of(classes[r], "name"), text_of(classes[c], "name"), images});
  }
  return all;
}

// The place in the page where the images of a confusion are listed.
std::string place_of(size_t number) {
  return fmt::format("confused-{}", number + 1);
}

Html linked(const std::string& words, size_t number) {
  return element("a", text(words), fmt::format("href=\"#{}\"", place_of(number)));
}

// `listed`: the confusions whose images the page lists.
Html matrix(const std::vector<Confused>& all, const json& classes, const Listed& listed) {
  std::map<std::pair<std::string, std::string>, double> images;
  std::map<std::string, double> of_class;
  for (const Confused& c : all) {
    images[{c.label, c.predicted}] += c.images;
    of_class[c.label] += c.images;
  }
  const std::vector<const json*> order = by_training_images(classes);
  std::vector<std::string> headings{"class"};
  for (const json* row : order) headings.push_back(text_of(*row, "name"));
  Table table(
      "Test images of the class in the row that were given the name of the column, classes of most training images first; the colour is "
      "the share of the row; a number leads to the images",
      headings);
  for (const json* row : order) {
    const std::string label = text_of(*row, "name");
    std::vector<Cell> cells{words(label)};
    for (const json* column : order) {
      const auto found = images.find({label, text_of(*column, "name")});
      if (found == images.end()) {
        cells.push_back(words(""));
        continue;
      }
      const auto at_place = listed.find(found->first);
      cells.push_back(
          {element("span", at_place == listed.end() ? text(figure(found->second, 9)) : linked(figure(found->second, 9), at_place->second),
                   fmt::format("style=\"background:rgba(var(--heat),{:.2f});display:block\"", 0.65 * found->second / of_class[label])),
           false, ""});
    }
    table.add(cells);
  }
  return element("div", table.html(), "class=\"heat\"");
}

// The images that the method got wrong by confusion, the most frequent first; `predictions`: the text of its table.
Misses misses_of(const Method& chosen, const std::string& predictions) {
  CsvTable table;
  try {
    table = parse_csv(predictions, "predictions");
  } catch (const Error&) {  // a file that was cut off: the page does without it
  }
  if (table.rows.empty()) return {};
  const std::vector<std::string>& heading = table.rows.front();
  const auto column = [&](const std::string& name) {
    return static_cast<size_t>(std::find(heading.begin(), heading.end(), name) - heading.begin());
  };
  const size_t key = column("key"), label = column("label"), answer = column(chosen.embedder + ":" + chosen.method);
  if (std::max({key, label, answer}) >= heading.size()) return {};
  std::map<Pair, std::vector<std::string>> misses;
  for (const std::vector<std::string>& fields : table.rows) {
    if (&fields == &heading) continue;
    if (fields.size() == heading.size() && fields[label] != fields[answer]) misses[{fields[label], fields[answer]}].push_back(fields[key]);
  }
  Misses order(misses.begin(), misses.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  return order;
}

// Each confusion folded away, to which the numbers above lead: a page that is sent to a place inside opens it.
Html lists_of(const Misses& misses, const Thumbnails& pictures) {
  Html body;
  for (size_t i = 0; i < std::min(misses.size(), kPairsListed); ++i) {
    const auto& [pair, keys] = misses[i];
    Html items;
    for (size_t k = 0; pictures.available() && k < std::min(keys.size(), kPictures); ++k) items += pictures.item(keys[k], text(keys[k]));
    std::string rest;
    const size_t first = pictures.available() ? std::min(keys.size(), kPictures) : 0, last = std::min(keys.size(), kNames);
    for (size_t k = first; k < last; ++k) rest += (rest.empty() ? "" : ", ") + keys[k];
    if (keys.size() > last) rest += fmt::format(" and {} more in the table of predictions", keys.size() - last);
    const Html inside = (items.code.empty() ? Html{} : gallery(items)) + (rest.empty() ? Html{} : paragraph(rest));
    body += details(fmt::format("{}, predicted {}: {} test images", pair.first, pair.second, keys.size()),
                    element("div", inside, fmt::format("id=\"{}\"", place_of(i))));
  }
  if (misses.size() > kPairsListed) body += paragraph(fmt::format("The {} most frequent of {} confusions.", kPairsListed, misses.size()));
  return body;
}

}  // namespace

Html confusion_section(const Results& results, const Thumbnails& pictures, const std::string& predictions) {
  if (!results.chosen()) return {};
  const json& scores = *results.chosen()->scores;
  const json& classes = elements(at(scores, {"classes"}));
  const Misses misses = misses_of(*results.chosen(), predictions);
  Listed listed;
  for (size_t i = 0; i < std::min(misses.size(), kPairsListed); ++i) listed[misses[i].first] = i;
  std::vector<Confused> all = confusions(scores, classes);
  Html body;
  if (!all.empty()) {
    if (classes.size() <= kMatrixClasses) body += matrix(all, classes, listed);
    std::erase_if(all, [](const Confused& c) { return c.label == c.predicted; });
    std::stable_sort(all.begin(), all.end(), [](const Confused& a, const Confused& b) { return a.images > b.images; });
    Table table("The most frequent confusions", {"class", "predicted", "test images"});
    for (size_t i = 0; i < std::min(all.size(), kPairsShown); ++i) {
      const auto place = listed.find({all[i].label, all[i].predicted});
      Cell images = number(figure(all[i].images, 9));
      if (place != listed.end()) images.body = linked(figure(all[i].images, 9), place->second);
      table.add({words(all[i].label), words(all[i].predicted), images});
    }
    body += table.empty() ? paragraph("No test image was misclassified.") : table.html();
  }
  if (misses.empty()) return body;
  return body + element("h3", text(fmt::format("Test images that {} got wrong", results.chosen()->name()))) +
         paragraph("Look for labels that are wrong themselves.") + lists_of(misses, pictures);
}

}  // namespace dinoxx::report
