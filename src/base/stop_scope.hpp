#pragma once
#include <functional>

namespace dinoxx {

/// While it lives, long work of this thread asks `stop` between its parts and ends with an Error once it says so. Scopes may stand in each
/// other: the inner one counts.
class StopScope {
 public:
  /// `stop` is asked from every thread that shares the work.
  explicit StopScope(std::function<bool()> stop);
  /// In a thread that shares the work of another: `outer` is that one's current(). Nothing for nullptr.
  explicit StopScope(const StopScope* outer);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

  static const StopScope* current();  ///< of this thread, nullptr without one
  /// Error when the work of this thread is to end. Long work calls it every second or more often.
  static void check();

 private:
  std::function<bool()> stop_;
  const StopScope* outer_;
};

}  // namespace dinoxx
