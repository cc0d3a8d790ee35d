#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace dinoxx {

/// Scalars as TensorBoard reads them: a file of TFRecords, each a tensorflow.Event (tensorflow/core/util/event.proto, summary.proto). Every
/// process of a run begins a file of its own with a session start, at which TensorBoard drops what earlier files have from that step on.
class TensorBoardFile {
 public:
  /// Makes `folder`/events.out.tfevents.SECONDS.dinoxx.PID for a session behind `step`. SECONDS are more than those of every file that is
  /// there, whatever the clock says: TensorBoard reads files in the order of their names. Error when it cannot be written.
  TensorBoardFile(const std::filesystem::path& folder, int64_t step);
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
