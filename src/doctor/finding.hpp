#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dinoxx::doctor {

enum class Severity {
  kOk,     ///< as it should be
  kNote,   ///< good to know, nothing to fix
  kWarn,   ///< the run works, and slower or less safely than it could
  kFault,  ///< the run fails, or its results cannot be trusted
};
/// "ok", "note", "warn", "fault".
const char* severity_name(Severity severity);

/// One thing that was looked at: where, what was expected, what was found, and what to do.
struct Finding {
  Severity severity = Severity::kNote;
  std::string subject;  ///< what, with rank and host where it is not the same on all
  std::string expected, found;
  std::string advice;  ///< a sentence without its full stop; empty: nothing to do
};

/// "warn: subject: expected ..., found .... Advice."
std::string finding_text(const Finding& finding);
/// The same without the severity.
std::string sentence(const Finding& finding);
nlohmann::json finding_json(const Finding& finding);

/// What all findings come to.
struct Verdict {
  std::vector<Finding> findings;  ///< the gravest first, those of equal severity in the order in which they came

  void add(Finding finding);
  void add(const std::vector<Finding>& more);
  size_t count(Severity severity) const;
  Severity worst() const;  ///< kOk without findings
  /// 1 with a fault, else 0: warnings alone do not fail a job that asks first.
  int exit_code() const;
  /// The line in front of the findings, "verdict: 1 fault, 2 warnings, 1 note".
  std::string headline() const;
};

/// "1 rank", "2 ranks"; a plural of its own where an s is not enough.
std::string counted(size_t n, const std::string& one, const std::string& many = "");

}  // namespace dinoxx::doctor
