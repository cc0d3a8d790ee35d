#pragma once
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace dinoxx {

/// The run folder as rank 0 of its run holds it: locked against a second run, with metrics.jsonl open for appending.
class RunFolder {
 public:
  /// Makes the folder if need be. Error when it cannot be written to; UsageError when another run holds it.
  explicit RunFolder(const std::filesystem::path& path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Opens metrics.jsonl for appending; from here on the folder holds a run.
  void open_metrics(const std::filesystem::path& file);
  /// One line, written at once. Error on a full disk.
  void log(const nlohmann::json& record);
  /// Makes what was logged so far survive a power cut; called before a checkpoint that counts on it.
  void sync_metrics();

 private:
  std::filesystem::path path_, metrics_file_;
  bool made_ = false;  // by this object
  int lock_ = -1, metrics_ = -1;
};

}  // namespace dinoxx
