#pragma once
#include <fstream>
#include <nlohmann/json.hpp>

#include "config/config.hpp"
#include "support/temporary_folder.hpp"
#include "train/training_config.hpp"

namespace dinoxx::report {

/// A run folder written by hand: what training would leave, line by line.
class FakeRun {
 public:
  FakeRun(const std::filesystem::path& folder, const std::vector<std::pair<std::string, std::string>>& keys = {}) : folder_(folder) {
    std::filesystem::create_directories(folder);
    Config config = default_config();
    std::vector<Setting> settings{{"train.batch_size", "10", ""}, {"train.length", "4ep", ""}};
    for (const auto& [key, value] : keys) settings.push_back({key, value, ""});
    apply_settings(config, settings);
    batch_ = config.train->batch_size;
    std::ofstream(folder / "config.cfg") << print_config(config);
    raw("");
  }
  FakeRun& start(int64_t step, int ranks = 2, const std::string& fingerprint = "f00d") {
    return raw(
        nlohmann::json{{"event", "start"}, {"step", step}, {"world_size", ranks}, {"images", 100}, {"fingerprint", fingerprint}}.dump() +
        "\n");
  }
  FakeRun& step(int64_t step, double loss, double rate = 50, nlohmann::json more = nlohmann::json::object()) {
    more.update({{"step", step}, {"epoch", static_cast<double>(step * batch_) / 100}, {"loss", loss}, {"images_per_s", rate}});
    return raw(more.dump() + "\n");
  }
  FakeRun& eval(int64_t step, double accuracy, double balanced = 0.5) {
    return raw(
        nlohmann::json{
            {"step", step},
            {"epoch", static_cast<double>(step * batch_) / 100},
            {"eval",
             {{"accuracy", accuracy}, {"balanced_accuracy", balanced}, {"k", 20}, {"by_k", {{"10", accuracy / 2}, {"20", accuracy}}}}}}
            .dump() +
        "\n");
  }
  FakeRun& raw(const std::string& text) {
    std::ofstream(folder_ / "metrics.jsonl", std::ios::app) << text;
    return *this;
  }

 private:
  std::filesystem::path folder_;
  int64_t batch_;
};

}  // namespace dinoxx::report
