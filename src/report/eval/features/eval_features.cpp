#include <fmt/ranges.h>

#include "report/eval/eval_sections.hpp"
#include "report/run/run_charts.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

// The alarms of training.
constexpr double kNoSpread = 0.01, kOneLine = 1.05;

// Beyond those of training: so few directions, or so little angle between images, that a method sees hardly more than which of a handful of
// images it has.
constexpr double kFewDirections = 3, kOneDirection = 0.98;

Cell reading(const json& health) {
  const std::string alarm = health_alarm(health);
  return alarm.empty() ? words("no alarm") : Cell{text(alarm), false, "bad"};
}

std::string panel_words(const std::string& kind, const std::string& image) {
  if (kind == "input") return image + ", as it enters the network";
  if (kind == "pca") return "the patches of " + image + " by their first three principal components as colours";
  if (kind == "similarity") return "how similar each patch of " + image + " is to the most attended one; white is the same";
  if (kind == "attention") return "attention of CLS over " + image + ", mean of the heads; white is most";
  if (kind == "attention_60") return image + " with all patches darkened except those that receive 60 % of the attention";
  return "attention of " + kind + " over " + image;
}

std::string caption_of(const std::string& kind) {
  if (kind == "pca") return "patch features, PCA";
  if (kind == "attention") return "attention, mean";
  if (kind == "attention_60") return "60 % of the attention";
  if (kind == "similarity") return "similarity to the most attended patch";
  return kind;
}

}  // namespace

std::string health_alarm(const json& health) {
  const double deviation = number_of(health, "deviation"), rank = number_of(health, "effective_rank"),
               cosine = number_of(health, "mean_cosine"), dim = number_of(health, "dim");
  if (deviation < kNoSpread) return "alarm: nearly the same feature for all images";
  if (rank < kOneLine) return "alarm: features lie on one line";
  std::vector<std::string> signs;
  if (rank < kFewDirections && dim > 2 * kFewDirections)
    signs.push_back(fmt::format("effective rank {} of {} dimensions", figure(rank, 2), figure(dim)));
  if (cosine >= kOneDirection) signs.push_back(fmt::format("mean cosine {} between any two images", figure(cosine, 3)));
  return signs.empty() ? "" : fmt::format("alarm: features are near collapse: {}", fmt::join(signs, ", "));
}

Html health_section(const Results& results) {
  Table table("Statistics of the features, without labels",
              {"features", "diagnosis", "dimensions", "effective rank", "deviation", "its quantiles", "dead dimensions", "mean cosine",
               "uniformity", "distance in a class", "of any two"});
  Chart chart{"Spectrum", "principal components", "share of the variance in the first components", {}};
  chart.log_x = chart.percent = true;
  chart.marks = false;
  chart.low = 0;
  chart.high = 1;
  for (const json& health : elements(at(results.all(), {"feature_health"}))) {
    const std::string name = features_name(text_of(health, "name"));
    const json& quantiles = elements(at(health, {"deviation_quantiles"}));
    std::vector<Cell> cells{words(name), reading(health), count(health, "dim"), plain(health, "effective_rank"),
                            plain(health, "deviation")};
    std::string of_dimensions;
    for (const json& value : quantiles) of_dimensions += (of_dimensions.empty() ? "" : ", ") + figure(number_or_nan(value), 2);
    cells.push_back(of_dimensions.empty() ? number("–", why_undefined(health, "deviation_quantiles")) : number(of_dimensions));
    cells.push_back(share(health, "dead_dimensions"));
    cells.push_back(plain(health, "mean_cosine", 5));
    for (const char* key : {"uniformity", "alignment", "distance"}) cells.push_back(plain(health, key));
    table.add(cells);
    Series series{name, {}};
    for (const json& component : elements(at(health, {"spectrum"})))
      series.points.push_back({number_of(component, "component"), number_of(component, "up_to"), {}, {}, ""});
    chart.series.push_back(std::move(series));
  }
  if (table.empty()) return {};
  return figures({figure_of(chart)}) + table.html() +
         list({element("strong", text("Healthy: ")) + text("the spectrum rises over many components, deviation is well above 0 (1: spread "
                                                           "over the whole sphere), few dimensions are "
                                                           "dead, uniformity is well below 0 (at best -4), and images of one class are "
                                                           "closer to each other than two random ones."),
               element("strong", text("Collapsed: ")) +
                   text("one component has nearly all the variance, effective rank near 1, deviation, distance and "
                        "uniformity near 0, most dimensions dead."),
               element("strong", text("In between: ")) + text("an effective rank far below that of the untrained network or of raw pixels, "
                                                              "together with a large mean cosine, means that "
                                                              "few directions are used. These numbers are no ranking: features can be well "
                                                              "spread and still be useless, see Methods.")}) +
         element("p",
                 text("Effective rank: exponential of the entropy of the singular values (RankMe). Deviation: standard deviation of a "
                      "dimension times the root of their number; its quantiles (0, 5, 50, 95, 100 %) are over the dimensions; below 0.01 a "
                      "dimension is dead. "
                      "Uniformity and the "
                      "squared distances: Wang & Isola 2020."),
                 "class=\"soft\"");
}

Html feature_pictures_section(const Results& results, const std::map<std::string, std::string>& files) {
  const json& section = at(results.all(), {"evidence", "pictures"});
  if (const std::string why = text_of(section, "left_out"); !why.empty()) return paragraph("Left out: " + why + ".");
  std::map<double, std::pair<std::string, std::string>> labels;  // by id
  for (const json& image : elements(at(results.all(), {"evidence", "neighbours", "images"})))
    labels[number_of(image, "id")] = {text_of(image, "image"), text_of(image, "label")};
  Html items;
  for (const json& image : elements(at(section, {"images"}))) {
    const auto& [key, label] = labels[number_of(image, "id")];
    Html panels;
    const auto add = [&](const std::string& kind, const json& name) {
      const auto file = name.is_string() ? files.find(name.get<std::string>()) : files.end();
      if (file == files.end()) return;
      panels += element("li", picture(file->second, panel_words(kind, key), "thumb") + element("span", text(caption_of(kind))));
    };
    for (const char* kind : {"input", "pca", "attention", "attention_60", "similarity"}) add(kind, at(image, {"files", kind}));
    const json& heads = elements(at(image, {"files", "heads"}));
    for (size_t h = 0; h < heads.size(); ++h) add(fmt::format("head {}", h), heads[h]);
    if (panels.code.empty()) continue;
    std::string numbers =
        fmt::format("norms of the patches {} to {}, median {}", figure(number_of(at(image, {"norms"}), "min"), 3),
                    figure(number_of(at(image, {"norms"}), "max"), 3), figure(number_of(at(image, {"norms"}), "median"), 3));
    if (const json& outliers = at(image, {"norms", "above_4_medians"}); outliers.is_number() && outliers.get<double>() > 0)
      numbers += fmt::format("; {} of the patches above four medians, a sign of artefacts", share_text(outliers, json()));
    if (const json& held = at(image, {"attention", "share_of_patches_with_60_percent"}); held.is_number())
      numbers += fmt::format("; {} of the patches receive 60 % of the attention", share_text(held, json()));
    items += element("li", element("strong", text(label + ": ")) + text(numbers) + element("ul", panels, "class=\"thumbs\""));
  }
  if (items.code.empty()) return {};
  std::string shares;
  for (const json& share : elements(at(section, {"explained"})))
    shares += (shares.empty() ? "" : ", ") + percent(number_or_nan(share)) + " %";
  return paragraph(fmt::format(
             "Test images from the section on neighbours. Colours are the first three principal components of the patch "
             "features, fitted to all of these images together ({} of the variance): the same colour is the same kind of patch. "
             "Each square is a patch.",
             shares)) +
         element("ul", items, "class=\"cases single\"");
}

}  // namespace dinoxx::report
