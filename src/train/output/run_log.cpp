#include "run_log.hpp"

namespace dinoxx {

void RunLog::lock(const RunHistory& history) {
  if (chief_) folder_ = std::make_unique<RunFolder>(history.folder());
}

void RunLog::open(const RunHistory& history, int64_t step) {
  if (!chief_) return;
  folder_->open_metrics(history.metrics_file());
  tensorboard_ = std::make_unique<TensorBoardFile>(history.folder(), step);
}

void RunLog::write(const nlohmann::json& record) {
  if (folder_) folder_->log(record);
}

void RunLog::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  if (tensorboard_) tensorboard_->log(step, values);
}

void RunLog::say(const std::string& text) {
  if (chief_) progress_.say(text);
}

void RunLog::say(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) say(line);
}

void RunLog::show(const std::string& text, bool last) {
  if (chief_) progress_.show(text, last);
}

void RunLog::sync() {
  if (folder_) folder_->sync_metrics();
}

}  // namespace dinoxx
