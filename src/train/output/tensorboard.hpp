#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace dinoxx {

/// Scalars as TensorBoard reads them: a file of TFRecords, each a tensorflow.Event (tensorflow/core/util/event.proto, summary.proto). Every
/// process of a run begins a file of its own; where steps are written again after a resume, TensorBoard takes the later file.
class TensorBoardFile {
 public:
  /// Makes `folder`/events.out.tfevents.SECONDS.dinoxx.PID. Error when it cannot be written.
  explicit TensorBoardFile(const std::filesystem::path& folder);
  ~TensorBoardFile();
  TensorBoardFile(const TensorBoardFile&) = delete;
  TensorBoardFile& operator=(const TensorBoardFile&) = delete;
  /// One event with all values of a step. Error on a full disk.
  void log(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);

 private:
  void write_record(const std::string& event);
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace dinoxx
