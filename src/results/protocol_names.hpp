#pragma once
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace dinoxx::eval {

/// How a protocol of the evaluation is called. `word` is the field's, and is what users type and read. `key` is its name in files:
/// suites.KEY in results.json, predictions_KEY.csv, the records of training in metrics.jsonl. Keys are a file format and stay as they were
/// first written, also where a better word was found later; where the two differ, the key is the old word too. An old word keeps its
/// meaning: `linear` is logistic regression, and therefore no new word may be `linear`.
struct ProtocolName {
  std::string_view word, key;
};

/// In the order in which they are run and shown.
inline constexpr std::array<ProtocolName, 9> kProtocolNames{{
    {"knn", "knn"},
    {"clustering", "zero"},
    {"few_shot", "few"},
    {"logistic", "linear"},  // scikit-learn's and DINOv2's logistic regression (eval/log_regression.py), a convex problem solved by L-BFGS
    {"multi_label", "multi_label"},
    {"linear_probe", "sweep"},  // DINOv2's eval/linear.py: heads trained by SGD, the best of a grid of learning rates and inputs
    {"finetune", "finetune"},
    {"segmentation", "linseg"},
    {"match", "match"},
}};
/// All of them; `kOldAll` is its old word.
inline constexpr std::string_view kAllProtocols = "all", kOldAll = "ladder";

/// The word for a name in files; a name that nobody knows, of a newer version say, as it is.
inline std::string protocol_word(std::string_view key) {
  const auto found = std::find_if(kProtocolNames.begin(), kProtocolNames.end(), [&](const ProtocolName& name) { return name.key == key; });
  return std::string(found == kProtocolNames.end() ? key : found->word);
}

/// The name in files for a word; anything else as it is.
inline std::string_view protocol_key(std::string_view word) {
  const auto found =
      std::find_if(kProtocolNames.begin(), kProtocolNames.end(), [&](const ProtocolName& name) { return name.word == word; });
  return found == kProtocolNames.end() ? word : found->key;
}

/// The word for what a user typed: an old word becomes today's, anything else stays.
inline std::string current_protocol_word(std::string_view typed) {
  return typed == kOldAll ? std::string(kAllProtocols) : protocol_word(typed);
}

}  // namespace dinoxx::eval
