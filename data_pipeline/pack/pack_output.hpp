#pragma once
#include <filesystem>

namespace dinoxx::detail {

/// The folder that will be `out`. Work goes on in `<out>.partial` beside it; commit() puts it in place by a rename, so that a data folder
/// is either complete or not there. Without commit the destructor removes everything. A leftover of a killed run is recognised by its lock
/// being free.
class OutputFolder {
 public:
  /// UsageError when `out` exists and may not be replaced: only with `overwrite`, and only an empty folder or a data folder ever is. What a
  /// run that was killed has left in partial() is still there.
  OutputFolder(const std::filesystem::path& out, bool overwrite);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& partial() const { return partial_; }
  const std::filesystem::path& out() const { return out_; }
  /// The destructor leaves partial() as it is, for a run that goes on with it.
  void keep_partial() { keep_ = true; }
  /// Everything in partial() must have been fsynced.
  void commit();

 private:
  std::filesystem::path out_, partial_;
  int lock_ = -1;
  bool keep_ = false;
};

}  // namespace dinoxx::detail
