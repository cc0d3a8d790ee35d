#include "finding.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace dinoxx::doctor {

const char* severity_name(Severity severity) {
  constexpr const char* kNames[] = {"ok", "note", "warn", "fault"};
  return kNames[static_cast<size_t>(severity)];
}

std::string finding_text(const Finding& finding) {
  return fmt::format("{}: {}", severity_name(finding.severity), sentence(finding));
}

std::string sentence(const Finding& finding) {
  const bool ends = finding.found.ends_with('.');  // an error's text, which is a sentence with its advice
  return fmt::format("{}: expected {}, found {}{}{}", finding.subject, finding.expected, finding.found, ends ? "" : ".",
                     finding.advice.empty() ? "" : " " + finding.advice + ".");
}

nlohmann::json finding_json(const Finding& finding) {
  return {{"severity", severity_name(finding.severity)},
          {"subject", finding.subject},
          {"expected", finding.expected},
          {"found", finding.found},
          {"advice", finding.advice}};
}

void Verdict::add(Finding finding) {
  const auto lighter = [&](const Finding& other) { return other.severity < finding.severity; };
  findings.insert(std::find_if(findings.begin(), findings.end(), lighter), std::move(finding));
}

void Verdict::add(const std::vector<Finding>& more) {
  for (const Finding& finding : more) add(finding);
}

size_t Verdict::count(Severity severity) const {
  return static_cast<size_t>(std::count_if(findings.begin(), findings.end(), [&](const Finding& f) { return f.severity == severity; }));
}

Severity Verdict::worst() const {
  return findings.empty() ? Severity::kOk : findings.front().severity;
}

int Verdict::exit_code() const {
  return worst() == Severity::kFault ? 1 : 0;
}

std::string Verdict::headline() const {
  std::vector<std::string> parts;
  const auto part = [&](Severity severity, const char* name) {
    if (const size_t n = count(severity)) parts.push_back(counted(n, name));
  };
  part(Severity::kFault, "fault");
  part(Severity::kWarn, "warning");
  part(Severity::kNote, "note");
  if (worst() < Severity::kWarn) parts.insert(parts.begin(), "nothing to fix");
  return fmt::format("verdict: {}", fmt::join(parts, ", "));
}

std::string counted(size_t n, const std::string& one, const std::string& many) {
  return fmt::format("{} {}", n, n == 1 ? one : many.empty() ? one + "s" : many);
}

}  // namespace dinoxx::doctor
