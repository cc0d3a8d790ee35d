#include <fmt/format.h>

#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

Html small_text(const std::string& words) {
  return element("span", text(words));
}

// One image and those nearest to it, as images where there are any, else by name.
Html case_item(const std::string& heading, const json& image, const Thumbnails& pictures, const std::string& under_image) {
  const auto item = [&](const std::string& key, const std::string& caption, const char* css) {
    const Html shown = pictures.available() ? pictures.image(key) : Html{};
    return element("li", shown + element("code", text(key)) + small_text(caption), css);
  };
  Html items = item(text_of(image, "image"), under_image, "class=\"query\"");
  const std::string label = text_of(image, "label");
  for (const json& neighbour : elements(at(image, {"neighbours"}))) {
    const std::string of = text_of(neighbour, "label");
    items += item(text_of(neighbour, "image"), fmt::format("{}, {}", of, figure(number_of(neighbour, "similarity"), 5)),
                  of == label ? "class=\"good\"" : "class=\"bad\"");
  }
  return element("li", element("strong", text(heading)) + element("ul", items, "class=\"thumbs\""));
}

}  // namespace

Html neighbours_section(const Results& results, const Thumbnails& pictures) {
  const json& evidence = at(results.all(), {"evidence", "neighbours"});
  Html items;
  for (const json& image : elements(at(evidence, {"images"}))) {
    const std::string label = text_of(image, "label"), answer = text_of(image, "answer");
    const json& probability = at(image, {"probability"});
    const std::string sure = probability.is_number() ? fmt::format(" with a probability of {}", figure(probability.get<double>(), 3)) : "";
    items += case_item(
        label == answer ? fmt::format("{}, predicted correctly{}", label, sure) : fmt::format("{}, predicted {}{}", label, answer, sure),
        image, pictures, "test image");
  }
  if (items.code.empty()) return {};
  const json& method = at(evidence, {"method"});
  std::string name;
  if (elements(method).size() == 3 && method[0].is_string() && method[2].is_string()) name = method_name(method[0], method[2]);
  return paragraph(
             fmt::format("Test images with the training images whose features are most similar, with label and cosine. Shown are: {}, of "
                         "{}. If a misclassified image has neighbours of the correct label, the classifier is at fault; if its neighbours "
                         "have the wrong label, the features or a label are.",
                         text_of(evidence, "rule"), name)) +
         element("ul", items, "class=\"cases\"");
}

Html suspicions_section(const Results& results, const Thumbnails& pictures) {
  const json& found = at(results.all(), {"evidence", "labels"});
  if (!found.is_object()) return {};
  Html body = paragraph(fmt::format(
      "{} of the {} examined training images have a suspected label error. A person has to look at them: nothing was changed or left out "
      "because of them. The vote of the neighbours is correct for {} of the examined images; the lower this share, the less a suspicion "
      "means.",
      figure(number_of(found, "suspected"), 9), figure(number_of(found, "examined"), 9),
      share_text(at(found, {"right_without_itself"}), json())));
  if (const std::string file = text_of(found, "file"); !file.empty())
    body += paragraph(fmt::format("All of them, with their paths: {} beside this page.", file));
  Html items;
  for (const json& image : elements(at(found, {"images"})))
    items += case_item(fmt::format("labelled {}, neighbours suggest {} (share of the vote {} against {})", text_of(image, "label"),
                                   text_of(image, "suggested"), figure(number_of(image, "share_of_label"), 3),
                                   figure(number_of(image, "share_of_suggested"), 3)),
                       image, pictures, "training image");
  if (!items.code.empty()) body += element("ul", items, "class=\"cases\"");
  Table pairs("Suspicions by label", {"label", "neighbours suggest", "training images"});
  for (const json& pair : elements(at(found, {"pairs"})))
    pairs.add({words(text_of(pair, "label")), words(text_of(pair, "suggested")), count(pair, "images")});
  if (!pairs.empty()) body += pairs.html();
  return body + element("p", text("Rule: " + text_of(found, "rule") + "."), "class=\"soft\"");
}

}  // namespace dinoxx::report
