#include <fmt/format.h>

#include <algorithm>

#include "dinoxx/eval/evaluate.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// More classes than this are left to results.json.
constexpr size_t kClassesShown = 30;

std::string percent(const json& value) {
  return value.is_null() ? "-" : fmt::format("{:.2f}", 100.0 * value.get<double>());
}

std::string interval(const json& value) {
  return fmt::format("{}-{}", percent(value[0]), percent(value[1]));
}

}  // namespace

std::string results_table(const json& results) {
  const json& knn = results["suites"]["knn"];
  const json& protocol = knn["protocol"];
  const auto count = [](const json& part) { return fmt::format("{} ({} images)", part["source"].get<std::string>(), part["images"].get<int64_t>()); };
  std::string text = fmt::format("k-NN accuracy in %, queries {}, memory {}, {} classes, images {}\n", count(protocol["queries"]), count(protocol["memory"]),
                                 protocol["classes"].get<int>(), protocol["transform"].get<std::string>());
  const std::string headline = std::to_string(protocol["headline_k"].get<int>());
  text += fmt::format("  {:<12}", "");
  for (const json& k : protocol["k"]) text += fmt::format("{:>9}", fmt::format("{}k={}", std::to_string(k.get<int>()) == headline ? "*" : "", k.get<int>()));
  text += fmt::format("{:>16}{:>12}\n", "95 %", "balanced");
  for (const json& result : knn["results"]) {
    text += fmt::format("  {:<12}", result["name"].get<std::string>());
    for (const json& k : protocol["k"]) text += fmt::format("{:>9}", percent(result["by_k"][std::to_string(k.get<int>())]["accuracy"]));
    text += fmt::format("{:>16}{:>12}\n", interval(result["headline"]["interval95"]), percent(result["headline"]["balanced_accuracy"]));
  }
  text += fmt::format("  * headline; its 95 % interval and its mean over classes follow\n");

  const json& classes = knn["results"][0]["classes"];
  if (classes.size() <= kClassesShown) {
    size_t width = 5;
    for (const json& row : classes) width = std::max(width, row["name"].get<std::string>().size());
    text += fmt::format("  {:<{}}{:>9}{:>9}{:>9}{:>16}   ({}, k={})\n", "class", width, "memory", "queries", "recall", "95 %", knn["results"][0]["name"].get<std::string>(), headline);
    for (const json& row : classes) {
      text += fmt::format("  {:<{}}{:>9}{:>9}{:>9}{:>16}\n", row["name"].get<std::string>(), width, row["memory"].get<int64_t>(), row["queries"].get<int64_t>(),
                          percent(row["recall"]), row.contains("interval95") ? interval(row["interval95"]) : "-");
    }
  }
  for (const json& note : protocol["notes"]) text += "  note: " + note.get<std::string>() + "\n";
  for (const json& note : results["checkpoint"]["notes"]) text += "  note: " + note.get<std::string>() + "\n";
  return text;
}

}  // namespace dinoxx::eval
