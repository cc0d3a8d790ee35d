#include "comparable.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/json_text.hpp"
#include "dinoxx/base/error.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kWhat = "dinoxx compare";

const json& settings_of(const Evaluation& evaluation, const std::string& key) {
  return member(member(member(evaluation.results, "suites"), key), "protocol");
}

// Memory and queries are the same for all protocols of an evaluation.
const json& images_of(const Evaluation& evaluation, const char* part) {
  const json& suites = member(evaluation.results, "suites");
  return member(settings_of(evaluation, suites.begin().key()), part);
}

std::string in_words(const json& images) {
  const json &count = member(images, "images"), &source = member(images, "source");
  return count.is_number() && source.is_string() ? fmt::format("{} images, {}", count.get<int64_t>(), source.get<std::string>())
                                                 : std::string("not recorded");
}

std::string text_or(const json& value, const char* otherwise) {
  return value.is_string() ? value.get<std::string>() : value.is_null() ? otherwise : json_text(value);
}

// The first table of answers, whose queries are those of all.
const RecordedAnswers* any_answers(const Evaluation& evaluation) {
  return evaluation.answers.empty() ? nullptr : &evaluation.answers.begin()->second;
}

void same_images(const Evaluation& first, const Evaluation& other) {
  const auto refuse = [&](const std::string& expected, const std::string& found, const std::string& what_to_do) {
    fail_usage(fmt::format("{}: {} and {}", kWhat, first.name, other.name), expected, found, what_to_do);
  };
  const json &data = member(first.results, "data"), &others = member(other.results, "data");
  if (member(data, "fingerprint") != member(others, "fingerprint"))
    refuse("evaluations of one data set",
           fmt::format("fingerprints {} ({}) and {} ({})", text_or(member(data, "fingerprint"), "none"), text_or(member(data, "path"), "?"),
                       text_or(member(others, "fingerprint"), "none"), text_or(member(others, "path"), "?")),
           "Evaluate both on the same packed images: scores on different images say nothing about the networks.");
  const json &column = member(data, "label_column"), &other_column = member(others, "label_column");
  if (column.is_string() && other_column.is_string() && column != other_column)  // older evaluations do not say it
    refuse("the same column of labels", fmt::format("{} and {}", column.get<std::string>(), other_column.get<std::string>()),
           "Use the same --label for all.");
  if (member(data, "labels") != member(others, "labels"))
    refuse("the same labels, of which an image may have several",
           fmt::format("{} and {} labels", member(data, "labels").size(), member(others, "labels").size()),
           "Use the same --labels for all.");
  if (member(data, "classes") != member(others, "classes"))
    refuse("the same classes", fmt::format("{} and {} classes", member(data, "classes").size(), member(others, "classes").size()),
           "Use --merge-class-names for all or for none.");
  for (const char* part : {"queries", "memory"}) {
    if (images_of(first, part) == images_of(other, part)) continue;
    refuse(fmt::format("the same {} images", std::string(part) == "memory" ? "training" : "test"),
           fmt::format("{}; {}", in_words(images_of(first, part)), in_words(images_of(other, part))),
           "Evaluate both with the same --split; give the data a test split where it has none.");
  }
  const RecordedAnswers *mine = any_answers(first), *theirs = any_answers(other);
  const json &queries = member(data, "queries_crc32c"), &others_queries = member(others, "queries_crc32c");  // older evaluations lack them
  if ((queries.is_string() && others_queries.is_string() && queries != others_queries) || (mine && theirs && mine->ids != theirs->ids))
    refuse("the same test images", "other images, though as many",
           "Without a test or val split the held-out part follows the seed of each run: evaluate all in one call, or give the data a test "
           "split "
           "(dinoxx pack --test-fraction).");
  if (!mine || !theirs) return;
  if (mine->labels != theirs->labels) refuse("the same labels of the test images", "others", "Evaluate both again.");
}

// Names of settings that are not equal; those of the input belong to the network.
std::vector<std::string> different_settings(const json& first, const json& other) {
  static const std::set<std::string> kOfTheNetwork{"mean", "std", "transform", "notes", "memory", "queries"};
  std::set<std::string> names;
  for (const json* settings : {&first, &other})
    if (settings->is_object())
      for (const auto& [name, value] : settings->items()) names.insert(name);
  std::vector<std::string> different;
  for (const std::string& name : names)
    if (!kOfTheNetwork.contains(name) && member(first, name) != member(other, name)) different.push_back(name);
  return different;
}

// What a protocol was told that stands in its results: of the linear probe how many crops it saw.
const json& told(const Evaluation& evaluation, const std::string& key, const char* what) {
  return member(member(evaluation.section(key), "training"), what);
}

std::string why_not(std::span<const Evaluation> evaluations, const std::string& key) {
  std::vector<std::string> without, left_out;
  for (const Evaluation& evaluation : evaluations) {
    const json& section = evaluation.section(key);
    if (section.is_null())
      without.push_back(evaluation.name);
    else if (const json& why = member(section, "left_out"); why.is_string())
      left_out.push_back(fmt::format("{}: {}", evaluation.name, why.get<std::string>()));
  }
  if (!without.empty()) return fmt::format("not run for {}", fmt::join(without, ", "));
  if (!left_out.empty()) return fmt::format("left out for {}", fmt::join(left_out, "; "));
  std::set<std::string> different;
  for (const Evaluation& evaluation : evaluations.subspan(1)) {
    for (const std::string& name : different_settings(settings_of(evaluations[0], key), settings_of(evaluation, key)))
      different.insert(name);
    for (const char* what : {"views_per_image", "views"})
      if (told(evaluations[0], key, what) != told(evaluation, key, what)) different.insert(what);
  }
  return different.empty() ? "" : fmt::format("run with other settings: {}", fmt::join(different, ", "));
}

// "NAME VALUE, NAME VALUE" where the values are not all equal.
template <typename Value>
void note_where_different(std::span<const Evaluation> evaluations, const std::string& what, const std::string& so, Value value,
                          std::vector<std::string>& notes) {
  std::set<std::string> distinct;
  std::vector<std::string> each;
  for (const Evaluation& evaluation : evaluations) {
    const std::string text = value(evaluation);
    distinct.insert(text);
    each.push_back(fmt::format("{} {}", evaluation.name, text));
  }
  if (distinct.size() > 1) notes.push_back(fmt::format("{}: {}{}", what, fmt::join(each, ", "), so));
}

void take_notes(std::span<const Evaluation> evaluations, std::vector<std::string>& notes) {
  const auto of = [](const char* object, const char* key) {
    return [=](const Evaluation& e) { return text_or(member(member(e.results, object), key), "not recorded"); };
  };
  note_where_different(
      evaluations, "--seed differs",
      ". What is drawn (folds, few-shot images, restarts, order of training) differs, and with it the scores",
      [](const Evaluation& e) { return text_or(member(e.results, "seed"), "not recorded"); }, notes);
  note_where_different(evaluations, "precision differs", "", of("checkpoint", "precision"), notes);
  note_where_different(
      evaluations, "the program differs", "",
      [](const Evaluation& e) { return text_or(member(member(member(e.results, "run"), "build"), "git"), "not recorded"); }, notes);
  std::map<std::string, std::vector<std::string>> of_weights;
  for (const Evaluation& evaluation : evaluations)
    if (const json& crc = member(member(evaluation.results, "checkpoint"), "crc32c"); crc.is_string())
      of_weights[crc.get<std::string>()].push_back(evaluation.name);
  for (const auto& [crc, names] : of_weights)
    if (names.size() > 1) notes.push_back(fmt::format("{} are the same weights (crc32c {})", fmt::join(names, " and "), crc));
  if (const json& leaks = member(member(member(evaluations[0].results, "checks"), "leaks"), "queries"); leaks.is_number() && leaks > 0)
    notes.push_back(
        fmt::format("{} test images are leaks (training images have a copy of them, or their group) and raise all scores; scores "
                    "without them are in each results.json",
                    leaks.get<int64_t>()));
}

}  // namespace

Common find_common(std::span<const Evaluation> evaluations) {
  std::set<fs::path> folders;
  for (const Evaluation& evaluation : evaluations)
    if (!folders.insert(fs::weakly_canonical(evaluation.folder)).second)
      fail_usage(kWhat, "different folders", fmt::format("{} twice", evaluation.folder.string()), "Name each once.");
  if (evaluations.size() < 2)
    fail_usage(kWhat, "two evaluations or more", fmt::format("{}", evaluations.size()),
               "Name the --out folders of two dinoxx eval; dinoxx report makes a page of one.");
  for (const Evaluation& evaluation : evaluations.subspan(1)) same_images(evaluations[0], evaluation);
  Common common;
  std::set<std::string> keys;
  for (const Evaluation& evaluation : evaluations)
    for (const auto& [key, suite] : member(evaluation.results, "suites").items()) keys.insert(key);
  std::vector<std::string> order;
  for (const ProtocolName& name : kProtocolNames)
    if (keys.erase(std::string(name.key)) > 0) order.emplace_back(name.key);
  order.insert(order.end(), keys.begin(), keys.end());
  for (const std::string& key : order) {
    const std::string why = why_not(evaluations, key);
    if (why.empty())
      common.protocols.push_back(key);
    else
      common.left_out.push_back({key, why});
  }
  if (common.protocols.empty()) {
    std::vector<std::string> reasons;
    for (const LeftOut& left : common.left_out) reasons.push_back(fmt::format("{} {}", protocol_word(left.protocol), left.why));
    fail_usage(kWhat, "a protocol that all evaluations have", fmt::format("none ({})", fmt::join(reasons, "; ")),
               "Evaluate them with the same --protocol.");
  }
  take_notes(evaluations, common.notes);
  return common;
}

}  // namespace dinoxx::eval
