#include "evaluation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kAgain = "Evaluate again into that folder.";

json read_results(const fs::path& folder) {
  const fs::path file = folder / "results.json";
  if (!fs::exists(file))
    fail_usage(folder.string(), "a folder of \"dinoxx eval\" with results.json", fs::exists(folder) ? "none" : "no such folder",
               "Name the --out of a finished dinoxx eval.");
  json results = json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (results.is_discarded()) fail_usage(file.string(), "JSON", "text that is none", kAgain);
  const json& format = member(results, "format");
  if (format != "dinoxx results")
    fail_usage(file.string(), "results of \"dinoxx eval\"",
               format.is_string() ? fmt::format("\"{}\"", format.get<std::string>()) : "another file", "Name the --out of dinoxx eval.");
  if (const json& version = member(results, "version"); version != 1)
    fail_usage(file.string(), "version 1 of the format", version.is_number() ? fmt::format("version {}", version.get<double>()) : "none",
               "Read it with the program that wrote it, or evaluate again.");
  return results;
}

uint64_t number_in(const std::string& field, const std::string& where) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size()) fail_usage(where, "a number", fmt::format("\"{}\"", field), kAgain);
  return value;
}

// Of the embedder's columns.
RecordedAnswers read_answers(const fs::path& file, const std::string& embedder) {
  if (!fs::exists(file))
    fail_usage(file.string(), "the table that results.json names", "no such file", "Copy the whole folder, or evaluate again.");
  const CsvTable table = parse_csv(read_text(file), file.string());
  if (table.rows.empty()) fail_usage(file.string(), "a table with a heading", "an empty file", kAgain);
  const std::vector<std::string>& heading = table.rows.front();
  RecordedAnswers answers;
  const auto column = [&](const std::string& name) {
    return static_cast<size_t>(std::find(heading.begin(), heading.end(), name) - heading.begin());
  };
  const size_t id = column("id"), label = column("label"), group = column("group");
  if (std::max(id, label) >= heading.size()) fail_usage(file.string(), "columns id and label", "others", kAgain);
  std::map<std::string, size_t> columns;
  for (size_t i = 0; i < heading.size(); ++i)
    if (heading[i].starts_with(embedder + ":")) columns[heading[i].substr(embedder.size() + 1)] = i;
  std::map<std::string, uint64_t> group_numbers;  // from 1
  for (size_t r = 1; r < table.rows.size(); ++r) {
    const std::vector<std::string>& row = table.rows[r];
    const std::string where = fmt::format("{}, line {}", file.string(), table.line[r]);
    if (row.size() != heading.size()) fail_usage(where, fmt::format("{} fields", heading.size()), std::to_string(row.size()), kAgain);
    answers.ids.push_back(number_in(row[id], where));
    answers.labels.push_back(row[label]);
    if (group < heading.size()) {
      const std::string& name = row[group];
      answers.groups.push_back(name.empty() ? 0 : group_numbers.try_emplace(name, group_numbers.size() + 1).first->second);
    }
    for (const auto& [method, at] : columns) answers.methods[method].push_back(row[at]);
  }
  return answers;
}

// A table of another evaluation, left or copied there, must not be taken for this one's.
void belongs_together(const Evaluation& evaluation, const std::string& key, const fs::path& file) {
  const RecordedAnswers& answers = evaluation.answers.at(key);
  const json& methods = member(evaluation.section(key), "methods");
  if (!methods.is_object()) return;
  for (const auto& [method, scores] : methods.items()) {
    const auto found = answers.methods.find(method);
    if (found == answers.methods.end())
      fail_usage(file.string(), fmt::format("a column {}:{}", evaluation.embedder, method), "none", kAgain);
    int64_t correct = 0;
    for (size_t q = 0; q < answers.labels.size(); ++q) correct += found->second[q] == answers.labels[q];
    const auto count = static_cast<int64_t>(answers.labels.size());
    if (member(scores, "count") == count && member(scores, "correct") == correct) continue;
    fail_usage(file.string(),
               fmt::format("the answers that results.json counts ({} of {} right by {})", json_text(member(scores, "correct")),
                           json_text(member(scores, "count")), method),
               fmt::format("{} of {} right", correct, count), "The table is of another evaluation. Evaluate again into that folder.");
  }
}

}  // namespace

const json& member(const json& object, std::string_view key) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

const json& Evaluation::section(const std::string& key) const {
  const json& of_embedders = member(member(member(results, "suites"), key), "results");
  return of_embedders.is_array() && !of_embedders.empty() ? of_embedders[0] : member(nullptr, "");
}

Evaluation read_evaluation(const fs::path& folder) {
  Evaluation evaluation{folder, "", read_results(folder), "", {}};
  const json& suites = member(evaluation.results, "suites");
  if (!suites.is_object() || suites.empty()) fail_usage((folder / "results.json").string(), "results of a protocol", "none", kAgain);
  for (const auto& [key, suite] : suites.items()) {
    const json& name = member(evaluation.section(key), "name");
    if (evaluation.embedder.empty() && name.is_string()) evaluation.embedder = name.get<std::string>();
    const json& table = member(suite, "predictions");
    if (!table.is_string()) continue;
    const fs::path file = folder / fs::path(table.get<std::string>()).filename();
    evaluation.answers[key] = read_answers(file, evaluation.embedder);
    belongs_together(evaluation, key, file);
  }
  return evaluation;
}

std::vector<fs::path> evaluation_folders(const std::vector<fs::path>& given) {
  std::vector<fs::path> folders;
  for (const fs::path& folder : given) {
    const fs::path list = folder / "comparison.json";
    if (fs::exists(folder / "results.json") || !fs::exists(list)) {
      folders.push_back(folder);
      continue;
    }
    const json comparison = json::parse(read_text(list), nullptr, /*allow_exceptions=*/false);
    const json& checkpoints = member(comparison, "checkpoints");
    if (member(comparison, "format") != "dinoxx comparison" || !checkpoints.is_array())
      fail_usage(list.string(), "a comparison of \"dinoxx eval\"", "another file", "Name the folders of the evaluations.");
    for (const json& checkpoint : checkpoints)
      if (const json& path = member(checkpoint, "folder"); path.is_string()) folders.push_back(folder / path.get<std::string>());
  }
  return folders;
}

}  // namespace dinoxx::eval
