#pragma once
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dinoxx::testing_support {

/// A folder as "dinoxx eval" leaves it, with the answers that a test wants: k-NN of classes "a" and "b" (or others).
struct FakeEvaluation {
  std::vector<std::string> labels;
  std::map<std::string, std::vector<std::string>> answers;  ///< by method of k-NN
  std::vector<uint64_t> ids, groups;                        ///< ids: 100, 101, ... where empty
  nlohmann::json results = {
      {"format", "dinoxx results"},
      {"version", 1},
      {"seed", 0},
      {"checkpoint",
       {{"file", "w.safetensors"},
        {"crc32c", "0"},
        {"parameters", 1000000},
        {"precision", "fp32"},
        {"model", {{"kind", "vit"}, {"dim", 8}, {"depth", 2}, {"patch_size", 4}}}}},
      {"data",
       {{"name", "leaves"}, {"path", "data"}, {"fingerprint", "f00d"}, {"classes", {"a", "b"}}, {"groups", 0}, {"splits", {{"val", 10}}}}},
      {"checks", {{"test_size", {{"few", false}}}, {"leaks", {{"queries", 0}}}}},
      {"run",
       {{"ranks", 1},
        {"threads", 2},
        {"host", "h"},
        {"processor", "p"},
        {"device", "cpu"},
        {"build", {{"git", "abc"}}},
        {"seconds", {{"total", 120}}},
        {"embedders", {{"teacher", {{"images", 100}, {"core_seconds", 50}, {"seconds", {{"knn", 12}}}}}}}}}};

  FakeEvaluation(std::vector<std::string> truth, std::vector<std::string> vote) : labels(std::move(truth)) {
    answers["vote"] = std::move(vote);
    nlohmann::json& knn = results["suites"]["knn"];
    knn["predictions"] = "predictions_knn.csv";
    knn["protocol"] = {{"k", {10, 20}},
                       {"transform", "32 x 32 as stored"},
                       {"mean", 0.5},
                       {"memory", {{"images", 50}, {"source", "train"}}},
                       {"queries", {{"images", labels.size()}, {"source", "test"}}}};
    knn["results"] = {{{"name", "teacher"}, {"feature_dim", 8}}, {{"name", "raw"}}};
  }

  nlohmann::json& section(const std::string& key) { return results["suites"][key]["results"][0]; }

  std::filesystem::path write(const std::filesystem::path& folder) {
    std::map<std::string, std::pair<double, double>> of_class;  // right, all
    nlohmann::json& methods = section("knn")["methods"];
    for (const auto& [method, given] : answers) {
      of_class.clear();
      int64_t correct = 0;
      for (size_t q = 0; q < labels.size(); ++q) {
        auto& [right, all] = of_class[labels[q]];
        right += given[q] == labels[q];
        ++all;
        correct += given[q] == labels[q];
      }
      nlohmann::json& scores = methods[method];
      scores = nlohmann::json::object();
      double balanced = 0;
      for (const nlohmann::json& name : results["data"]["classes"]) {
        const double all = of_class[name.get<std::string>()].second;
        scores["classes"].push_back({{"name", name}, {"memory", memory[name.get<std::string>()]}, {"queries", all}});
      }
      size_t tested = 0;
      for (const auto& [name, count] : of_class) {
        if (count.second == 0) continue;
        balanced += count.first / count.second;
        ++tested;
      }
      const auto count = static_cast<double>(labels.size());
      scores.update({{"count", labels.size()},
                     {"correct", correct},
                     {"accuracy", static_cast<double>(correct) / count},
                     {"interval95", {0.25, 0.75}},
                     {"balanced_accuracy", balanced / static_cast<double>(tested)},
                     {"bootstrap95", {{"balanced_accuracy", {0.2, 0.8}}}}});
    }
    std::filesystem::create_directories(folder);
    std::ofstream table(folder / "predictions_knn.csv");
    table << "id,key,label" << (groups.empty() ? "" : ",group");
    for (const auto& [method, given] : answers) table << ",teacher:" << method;
    table << ",raw:vote\n";
    for (size_t q = 0; q < labels.size(); ++q) {
      table << (ids.empty() ? 100 + q : ids[q]) << ",\"test/" << q << ",x.png\"," << labels[q];
      if (!groups.empty()) table << "," << (groups[q] ? std::to_string(groups[q]) : "");
      for (const auto& [method, given] : answers) table << "," << given[q];
      table << ",a\n";
    }
    std::ofstream(folder / "results.json") << results.dump();
    return folder;
  }

  std::map<std::string, int> memory{{"a", 40}, {"b", 10}};  ///< training images
};

/// `count` times each of the names.
inline std::vector<std::string> each(const std::vector<std::string>& names, size_t count) {
  std::vector<std::string> all;
  for (const std::string& name : names) all.insert(all.end(), count, name);
  return all;
}
/// `labels` with the other of "a" and "b" at these places.
inline std::vector<std::string> wrong_at(std::vector<std::string> labels, const std::vector<size_t>& places) {
  for (const size_t q : places) labels[q] = labels[q] == "a" ? "b" : "a";
  return labels;
}

}  // namespace dinoxx::testing_support
