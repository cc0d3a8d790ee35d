#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dinoxx {

/// What the process reports to its launcher.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,     ///< bad command line, configuration or input that the user has to change
  kStopped = 85,  ///< stopped on request after saving; the launcher starts it again
};

/// A failure that a person reads: what was expected, what was found and what to do about it.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  /// With which a program ends that does not catch it.
  virtual ExitCode exit_code() const { return ExitCode::kFailed; }
};

/// Bad command line or configuration: exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
  ExitCode exit_code() const override { return ExitCode::kUsage; }
};

/// Throws Error("<subject>: expected <expected>, found <found>. <advice>").
[[noreturn]] void fail(std::string_view subject, std::string_view expected, std::string_view found, std::string_view advice);

/// The same as a UsageError.
[[noreturn]] void fail_usage(std::string_view subject, std::string_view expected, std::string_view found, std::string_view advice);

/// The candidate with the smallest edit distance to `word`, or "" when nothing is close. For "unknown key X, did you mean Y?".
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace dinoxx
