#include <fmt/format.h>

#include <cmath>
#include <map>

#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

// What all protocols say of the images: that of the first.
const json& image_protocol(const Results& results) {
  static const json none;
  for (const std::string& key : results.protocols())
    if (const json& settings = at(results.all(), {"suites", key.c_str(), "protocol"}); settings.is_object()) return settings;
  return none;
}

std::string part(const json& protocol, const char* key) {
  const json& which = at(protocol, {key});
  return which.is_object() ? fmt::format("{} images: {}", grouped(std::llround(number_of(which, "images"))), text_of(which, "source")) : "";
}

std::string splits_text(const json& data) {
  std::string words;
  const json& splits = at(data, {"splits"});
  if (!splits.is_object()) return "not in results.json";
  for (const auto& [split, images] : splits.items())
    words += fmt::format("{}{} in {}", words.empty() ? "" : ", ", figure(number_or_nan(images), 9), split);
  return words;
}

std::string sizes_text(const json& data) {
  const auto pair = [&](const char* which) {
    return fmt::format("{} x {}", figure(number_of(at(data, {"width"}), which), 9), figure(number_of(at(data, {"height"}), which), 9));
  };
  if (!at(data, {"width"}).is_object()) return "not in results.json";
  return fmt::format("median {} pixels, smallest {}, largest {}", pair("median"), pair("min"), pair("max"));
}

// Training images of each class as bars on a logarithmic scale.
Html histogram(const Results& results) {
  if (!results.chosen()) return {};
  const std::vector<const json*> classes = by_training_images(elements(at(*results.chosen()->scores, {"classes"})));
  const double largest = classes.empty() ? 0 : number_of(*classes[0], "memory");
  constexpr size_t kClassesShown = 100;
  if (!(largest >= 1)) return {};
  Table table("Images of each class; the length of the bar is the logarithm of the number of training images",
              {"class", "training images", "", "test images"});
  for (size_t i = 0; i < std::min(classes.size(), kClassesShown); ++i) {
    const double n = number_of(*classes[i], "memory");
    const double width = n >= 1 ? 100 * (1 + std::log(n)) / (1 + std::log(largest)) : 0;
    table.add({words(text_of(*classes[i], "name")),
               count(*classes[i], "memory"),
               {Html{fmt::format("<span class=\"range\"><span class=\"bar\" style=\"width:{:.0f}%\"></span></span>", width)}, false, ""},
               count(*classes[i], "queries")});
  }
  Html body = table.html();
  if (classes.size() > kClassesShown)
    body += paragraph(fmt::format("The {} of {} classes with the most training images.", kClassesShown, classes.size()));
  return body;
}

Html class_grid(const Thumbnails& pictures, bool several_labels) {
  if (!pictures.available()) return paragraph("No images: the data folder was not given (dinoxx report DIR --data DATA).");
  const Dataset& dataset = *pictures.dataset();
  constexpr size_t kClasses = 30, kOfClass = 4;
  std::map<int32_t, std::vector<uint64_t>> chosen;
  for (const uint64_t id : dataset.ids(Split::kTrain)) {
    const int32_t label = dataset.meta(id).label;
    if (label < 0 || static_cast<size_t>(label) >= kClasses) continue;
    if (std::vector<uint64_t>& ids = chosen[label]; ids.size() < kOfClass) ids.push_back(id);
  }
  Html items;
  for (const auto& [label, ids] : chosen) {
    const std::string name = static_cast<size_t>(label) < dataset.class_names().size() ? dataset.class_names()[static_cast<size_t>(label)]
                                                                                       : std::to_string(label);
    for (const uint64_t id : ids) items += pictures.item(id, text(name));
  }
  return element("h3", text(several_labels ? "Training images, the first of each label that is the rarest of theirs"
                                           : "Training images, the first of each class")) +
         gallery(items);
}

Html pairs(const std::string& caption, const json& examples, const Thumbnails& pictures) {
  constexpr size_t kShown = 5;
  Table table(caption, {"test image", "training image", "cosine", "same label"});
  for (size_t i = 0; i < std::min(elements(examples).size(), kShown); ++i) {
    const json& pair = examples[i];
    const json& same = at(pair, {"same_label"});
    const auto image = [&](const char* key) { return Cell{pictures.image(text_of(pair, key)) + text(text_of(pair, key)), false, ""}; };
    table.add({image("image"), image("memory"), plain(pair, "cosine", 5), words(same == true ? "yes" : same == false ? "no" : "")});
  }
  return table.empty() ? Html{} : table.html();
}

// In the page as text, so that it can be searched where leaks.csv is not at hand.
Html leak_list(const json& leaks) {
  const json& listed = at(leaks, {"list"});
  if (elements(listed).empty()) return {};
  Table table("Leaks: an image, and what the other side has of it", {"image", "split", "what", "cosine", "other image", "split"});
  for (const json& leak : elements(listed))
    table.add({words(text_of(leak, "image")), words(text_of(leak, "split")), words(text_of(leak, "kind")),
               at(leak, {"cosine"}).is_number() ? plain(leak, "cosine", 4) : words(""), words(text_of(leak, "other_image")),
               words(text_of(leak, "other_split"))});
  const auto shown = static_cast<double>(elements(listed).size());
  const bool cut = number_of(leaks, "all") > shown;
  return details(fmt::format("{} leaks{}", shown, cut ? fmt::format(" of {}, the first", number_of(leaks, "all")) : ""), table.html());
}

}  // namespace

Html data_section(const Results& results, const Thumbnails& pictures) {
  const json& data = at(results.all(), {"data"});
  const json& protocol = image_protocol(results);
  const bool several = !elements(at(data, {"labels"})).empty();
  std::vector<std::pair<std::string, Html>> rows{{"packed images", element("code", value_text(at(data, {"path"})))},
                                                 {"fingerprint", element("code", value_text(at(data, {"fingerprint"})))},
                                                 {"images in total", value_text(at(data, {"images"}))},
                                                 {"by split", text(splits_text(data))},
                                                 {"width x height", text(sizes_text(data))},
                                                 {"groups", value_text(at(data, {"groups"}))},
                                                 {"learned from", text(part(protocol, "memory"))},
                                                 {"tested on", text(part(protocol, "queries"))},
                                                 {several ? "labels, several an image" : "classes",
                                                  several ? value_text(at(data, {"labels"})) : value_text(at(protocol, {"classes"}))},
                                                 {"without label, left out", value_text(at(protocol, {"unlabelled_left_out"}))},
                                                 {"network input", value_text(at(protocol, {"transform"}))}};
  std::vector<Html> notes;
  for (const json& note : elements(at(protocol, {"notes"}))) notes.push_back(value_text(note));
  if (!notes.empty()) rows.emplace_back("notes", list(notes));
  return facts("Data of this evaluation", rows) + histogram(results) + class_grid(pictures, several);
}

Html checks_section(const Results& results, const Thumbnails& pictures) {
  const json& checks = at(results.all(), {"checks"});
  if (!checks.is_object()) return {};
  const auto said = [&](const char* key) { return text(why_undefined(checks, key)); };
  std::vector<std::pair<std::string, Html>> rows;
  const auto identical = [&](const char* key, const char* what) {
    const json& check = at(checks, {key});
    if (check.is_object())
      rows.emplace_back(what, text(fmt::format("{}, {} of them with a different label", figure(number_of(check, "images"), 9),
                                               figure(number_of(check, "with_another_label"), 9))));
  };
  identical("identical", "test images that are also in train (identical pixels)");
  if (!at(checks, {"identical"}).is_object()) rows.emplace_back("identical images", said("identical"));
  identical("identical_validation", "validation images that are also in train");
  identical("identical_validation_queries", "test images that are also in validation");
  const json& near = at(checks, {"near_identical"});
  const auto nearly = [&](const json& check, const char* what) {
    if (check.is_object())
      rows.emplace_back(
          what, text(fmt::format("{} of {} have a cosine of {} or more ({} features, centred); the median over all is {}",
                                 figure(number_of(check, "queries"), 9), figure(number_of(check, "looked_at"), 9),
                                 figure(number_of(near, "cosine")), text_of(near, "embedder"), figure(number_of(check, "median_cosine")))));
  };
  const auto copies = [&](const char* key, const char* what) {
    const json& check = at(checks, {key});
    if (!check.is_object()) return;
    std::string words =
        fmt::format("{} of {}; hashes of ordinary images have a cosine of {}, copies {} or more", figure(number_of(check, "images"), 9),
                    figure(number_of(check, "looked_at"), 9), figure(number_of(check, "usual_cosine")), figure(number_of(check, "cosine")));
    if (at(check, {"tells_apart"}) == false) words += ": they do not tell images of this set apart, and are not counted as leaks";
    rows.emplace_back(what, text(words));
  };
  copies("near_copies", "test images with a near copy in train (encoded again, resized, mirrored)");
  copies("near_copies_validation", "validation images with a near copy in train");
  copies("near_copies_validation_queries", "test images with a near copy in validation");
  if (const std::string file = text_of(at(checks, {"leaks"}), "file"); !file.empty())
    rows.emplace_back("all leaks with their paths", element("code", text(file)));
  nearly(near, "test images with a near neighbour in train");
  nearly(at(near, {"validation"}), "validation images with a near neighbour in train");
  nearly(at(near, {"validation_queries"}), "test images with a near neighbour in validation");
  const auto groups = [&](const char* key, const char* what, const char* images) {
    const json& check = at(checks, {key});
    if (check.is_object())
      rows.emplace_back(what, text(fmt::format("{} groups, {} {} images", figure(number_of(check, "groups"), 9),
                                               figure(number_of(check, "queries"), 9), images)));
  };
  groups("groups", "groups in train and test", "test");
  if (!at(checks, {"groups"}).is_object()) rows.emplace_back("groups in train and test", said("groups"));
  groups("groups_validation", "groups in train and validation", "validation");
  groups("groups_validation_queries", "groups in validation and test", "test");
  const json& labels = at(checks, {"labels"});
  rows.emplace_back("label shift, total variation distance (0: equal class shares, 1: no class in common)",
                    value_text(at(labels, {"total_variation"})));
  rows.emplace_back("classes without training images", value_text(at(labels, {"classes_not_in_memory"})));
  rows.emplace_back("classes without test images", value_text(at(labels, {"classes_without_queries"})));
  return facts("Overlap between the splits for training, selection and test", rows) + leak_list(at(checks, {"leaks"})) +
         pairs("Identical images", at(checks, {"identical", "examples"}), pictures) +
         pairs("Near copies", at(checks, {"near_copies", "examples"}), pictures) +
         pairs("The most similar pairs. Where features hardly differ between images, a high cosine alone proves nothing",
               at(near, {"examples"}), pictures);
}

Html protocol_section(const Results& results) {
  Html body;
  for (const std::string& key : results.protocols()) {
    std::vector<std::pair<std::string, Html>> rows;
    const json& protocol = at(results.all(), {"suites", key.c_str(), "protocol"});
    if (!protocol.is_object()) continue;
    for (const auto& [name, value] : protocol.items()) rows.emplace_back(name, value_text(value));
    body += details(eval::protocol_word(key), facts("Settings of " + eval::protocol_word(key), rows));
  }
  return body;
}

Html provenance_section(const Results& results) {
  std::vector<std::pair<std::string, Html>> rows;
  const json& all = results.all();
  rows.emplace_back("command", element("code", value_text(at(all, {"run", "command"}))));
  const auto add = [&](const json& object, const char* skip) {
    if (!object.is_object()) return;
    for (const auto& [name, value] : object.items())
      if (name != skip && name != "command" && name != "seconds") rows.emplace_back(name, value_text(value));
  };
  add(at(all, {"checkpoint"}), "");
  add(at(all, {"run"}), "");
  rows.emplace_back("seed of the evaluation", value_text(at(all, {"seed"})));
  rows.emplace_back("bootstrap", value_text(at(all, {"bootstrap"})));
  return facts("Weights, program and machine", rows);
}

}  // namespace dinoxx::report
