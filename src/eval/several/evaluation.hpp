#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace dinoxx::eval {

/// object[key]; null where there is none, or `object` is none.
const nlohmann::json& member(const nlohmann::json& object, std::string_view key);

/// The answers of the checkpoint's methods in predictions_KEY.csv.
struct RecordedAnswers {
  std::vector<uint64_t> ids;                                ///< of the queries
  std::vector<std::string> labels;                          ///< class names, [queries]
  std::vector<uint64_t> groups;                             ///< 0: none, [queries]; empty: the file has no column of them
  std::map<std::string, std::vector<std::string>> methods;  ///< class names, [queries]
};

/// What "dinoxx eval" has left in a folder.
struct Evaluation {
  std::filesystem::path folder;
  std::string name;                                ///< tells it apart from those beside it
  nlohmann::json results;                          ///< results.json
  std::string embedder;                            ///< of the checkpoint's own features, the first in results.json
  std::map<std::string, RecordedAnswers> answers;  ///< by key of the protocol, where it has any
  /// The checkpoint's own part of suites.KEY; null where the protocol was not run.
  const nlohmann::json& section(const std::string& key) const;
};

/// Reads results.json and the tables that it names. UsageError: no results.json, one of another program or version, a table that is missing
/// or does not belong to it (the right answers that it counts are others).
Evaluation read_evaluation(const std::filesystem::path& folder);

/// The folders themselves, but of a folder in which "dinoxx eval" has put several evaluations (comparison.json) those.
std::vector<std::filesystem::path> evaluation_folders(const std::vector<std::filesystem::path>& given);

}  // namespace dinoxx::eval
