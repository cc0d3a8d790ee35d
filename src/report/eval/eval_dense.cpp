#include <cmath>

#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {

using nlohmann::json;

Html dense_section(const Results& results) {
  Table overlap("Linear segmentation of patch features: intersection over union in %, mean of the classes [95 % interval]",
                {"features", "question", "mean IoU", "pixel accuracy", "mIoU, all background", "IoU of each class", "C"});
  Table attention(
      "Attention of CLS against the masks, Jaccard index in % [95 % interval]; the oracle chooses its head by the test masks: an upper "
      "bound that "
      "cannot be reached in use",
      {"features", "images", "mean map of all heads", "mean over heads", "oracle head of each image", "oracle head of the set",
       "all pixels object"});
  std::vector<Html> left_out;
  for (const json& result : elements(at(results.all(), {"suites", "linseg", "results"}))) {
    const std::string features = features_name(text_of(result, "name"));
    const json& interval = at(result, {"bootstrap95"});
    for (const char* part : {"object", "classes", "attention"})
      if (const std::string why = text_of(at(result, {part}), "left_out"); !why.empty())
        left_out.push_back(text(std::string(part) + " of " + features + ": " + why));
    for (const char* question : {"object", "classes"}) {
      const json& pixel = at(result, {question, "pixel"});
      if (!pixel.is_object()) continue;
      std::vector<Html> classes;
      for (const json& row : elements(at(pixel, {"iou"})))
        classes.push_back(text(text_of(row, "name") + ": " + percent(number_of(row, "iou"))));
      overlap.add({words(features),
                   words(question),
                   share(pixel, "miou", at(interval, {(std::string(question) + "_miou").c_str()})),
                   share(pixel, "accuracy"),
                   share(at(result, {question, "all_background"}), "miou"),
                   {details("show", list(classes)), false, ""},
                   plain(at(result, {question}), "C")});
    }
    const json& maps = at(result, {"attention"});
    if (!std::isnan(number_of(maps, "mean_map")))
      attention.add({words(features), count(maps, "images"), share(maps, "mean_map", at(interval, {"attention_mean_map"})),
                     share(maps, "mean_of_heads"),
                     share(maps, "oracle_head_of_each_image", at(interval, {"attention_oracle_head_of_each_image"})),
                     share(at(maps, {"oracle_head_of_the_set"}), "jaccard"), share(maps, "all_object")});
  }
  Table places(
      "Points matched correctly in a warped copy of each test image, in % (PCK, within a share of the image's side) [95 % interval]",
      {"features", "points", "0.05", "0.1", "0.2", "0.1, mutual nearest", "0.1, upper bound of the grid", "0.1, chance"});
  for (const json& result : elements(at(results.all(), {"suites", "match", "results"}))) {
    const json &found = at(result, {"pck"}), &interval = at(result, {"bootstrap95"});
    if (!found.is_object()) continue;
    places.add({words(features_name(text_of(result, "name"))), count(result, "points"), share(found, "0.05", at(interval, {"0.05"})),
                share(found, "0.1", at(interval, {"0.1"})), share(found, "0.2", at(interval, {"0.2"})),
                share(at(result, {"mutual", "pck"}), "0.1"), share(at(result, {"best_of_grid"}), "0.1"),
                share(at(result, {"chance"}), "0.1")});
  }
  Table differences("Do patch features differ? First minus second in points [95 % interval], on the same resamples of the test images",
                    {"figure", "first", "second", "difference"});
  for (const char* key : {"linseg", "match"}) {
    for (const json& row : elements(at(results.all(), {"suites", key, "paired"}))) {
      const double difference = number_of(row, "difference");
      if (std::isnan(difference)) continue;
      differences.add({words(text_of(row, "figure")), words(features_name(text_of(row, "first"))),
                       words(features_name(text_of(row, "second"))), number(percent(difference) + interval_text(at(row, {"interval95"})))});
    }
  }
  return (overlap.empty() ? Html{} : overlap.html()) + (attention.empty() ? Html{} : attention.html()) +
         (places.empty() ? Html{} : places.html()) + (differences.empty() ? Html{} : differences.html()) +
         (left_out.empty() ? Html{} : paragraph("Left out:") + list(left_out));
}

}  // namespace dinoxx::report
