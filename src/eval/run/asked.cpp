#include "asked.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"
#include "eval/evidence/label_checks.hpp"
#include "eval/multi_label/multi_label.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::eval {
namespace {

constexpr std::string_view kMatch = "match";  // needs no labels

bool named(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

// Options about the one class that an image has.
void refuse_one_class_options(const EvaluateOptions& options) {
  const auto refuse = [](const char* option, const char* what) {
    fail_usage(option, "one class an image", "several labels an image",
               fmt::format("{} is about one class: leave it out, or ask about one label by --label NAME.", what));
  };
  if (options.labels.merge_names) refuse("--merge-class-names", "It");
  if (!options.ordered.empty()) refuse("--ordered", "An order of classes");
  if (!options.by.empty()) refuse("--by", "A score by subgroup");
  if (!options.decision.empty()) refuse("--recall and --cost", "A rule of decision");
}

void refuse_other_protocols(const std::vector<std::string>& words, const Dataset& dataset) {
  std::vector<std::string> others;
  for (const std::string& word : words)
    if (word != kMultiLabelKey && word != kMatch && word != kAllProtocols) others.push_back(word);
  if (others.empty()) return;
  fail_usage("--protocol", fmt::format("{} for images with several labels", kMultiLabelKey), fmt::format("{}", fmt::join(others, ", ")),
             fmt::format("One label alone is scored by them: --label {}.", dataset.class_names().front()));
}

}  // namespace

std::shared_ptr<const Dataset> labels_asked(const LabelChoice& choice, std::shared_ptr<const Dataset> dataset,
                                            std::vector<BinaryLabel>& labels) {
  if (!choice.several.empty() && !choice.column.empty())
    fail_usage("--label and --labels", "one of them", "both", "--label is for one class an image, --labels for several.");
  if (choice.several.empty() && (!choice.column.empty() || !has_label_lists(*dataset))) return chosen_labels(std::move(dataset), choice);
  labels = find_binary_labels(*dataset, choice.several.empty() ? "all" : choice.several);
  return with_rarest_label(std::move(dataset), labels);
}

Asked what_is_asked(const EvaluateOptions& options, std::shared_ptr<const Dataset> dataset) {
  std::vector<std::string> words;
  words.reserve(options.protocols.size());
  for (const std::string& name : options.protocols) words.push_back(current_protocol_word(name));
  LabelChoice choice = options.labels;
  if (named(words, kMultiLabelKey) && choice.several.empty() && choice.column.empty()) choice.several = "all";
  Asked asked;
  asked.dataset = labels_asked(choice, std::move(dataset), asked.labels);
  const bool several = !asked.labels.empty();
  if (named(words, kMultiLabelKey) && !several)
    fail_usage("--label", "one label by protocols of one class an image", fmt::format("--protocol {}", kMultiLabelKey),
               "Leave --label out, or choose some of the labels: --labels a,b.");
  if (several) {
    refuse_one_class_options(options);
    refuse_other_protocols(words, *asked.dataset);
  }
  if (words.empty()) words.emplace_back(several ? kMultiLabelKey : "knn");
  const bool all = named(words, kAllProtocols);
  for (const Protocol& protocol : protocols()) {
    const bool of_several = protocol.name == kMultiLabelKey, by_name = named(words, protocol.name);
    const bool fits = several ? of_several || protocol.name == kMatch : !of_several;
    if (protocol.reads_network && !options.readout.plain()) {
      if (!by_name) continue;
      fail_usage("--protocol", "protocols that take the features they are given, beside --feature-stages and --feature-whiten",
                 std::string(protocol.name),
                 fmt::format("{} learns from the network itself: evaluate it by itself, without these options.", protocol.name));
    }
    if (by_name || (all && fits)) asked.protocols.push_back(&protocol);
  }
  return asked;
}

}  // namespace dinoxx::eval
