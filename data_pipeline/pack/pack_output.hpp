#pragma once
#include <cstdint>
#include <filesystem>

namespace dinoxx::detail {

/// The data folder that will be. Work goes on in `<out>/.partial`; commit() moves the files up, the manifest last, so that a folder has a
/// manifest only when it is complete. So `out` may be a mount point, a link to a folder, or a folder whose parent is not ours. Without
/// commit the destructor removes all that is new. What a killed run left is recognised by its lock being free.
class OutputFolder {
 public:
  /// Makes the folder and tries to write to it and to move a file there. UsageError when it holds something that may not be replaced: only
  /// with `overwrite`, and only the files of a data folder ever are; other files stay, unless hidden ones (and lost+found) a reason to
  /// refuse.
  /// What a run that was killed has left in partial() is still there; had it begun to move its files up, they are gone, and a data folder
  /// that it was replacing is back.
  OutputFolder(const std::filesystem::path& out, bool overwrite);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& partial() const { return partial_; }
  /// As it was asked for; links are not resolved.
  const std::filesystem::path& out() const { return out_; }
  /// The destructor leaves partial() as it is, for a run that goes on with it.
  void keep_partial() { keep_ = true; }
  /// Error when the file system has clearly less than about `bytes` free.
  void check_space(uint64_t bytes) const;
  /// Everything in partial() must have been fsynced.
  void commit();

 private:
  void check(bool overwrite) const;
  void open();
  void finish_commit_of_a_killed_run();
  void restore_replaced();
  void remove_new();
  std::filesystem::path out_, target_, partial_;
  std::filesystem::path made_;  ///< the topmost folder that did not exist; empty = all did
  int lock_ = -1;
  bool keep_ = false;
};

}  // namespace dinoxx::detail
