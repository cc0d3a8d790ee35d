#include <fmt/format.h>

#include <algorithm>

#include "results/protocol_names.hpp"
#include "results/subgroup_text.hpp"
#include "results/verdict_order.hpp"
#include "subgroups.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// More subgroups than this are left to results.json and the report.
constexpr size_t kShown = 30;

std::string percent(const json& share) {
  return fmt::format("{:.2f}", 100 * share.get<double>());
}

std::string p_text(const json& p) {
  return !p.is_number() ? "-" : p.get<double>() < 0.001 ? "<0.001" : fmt::format("{:.3f}", p.get<double>());
}

std::string lines_of(const json& by) {
  std::string text;
  size_t width = 8;
  for (const json& group : by["groups"]) width = std::max(width, group["name"].get<std::string>().size());
  text += fmt::format("  {:<{}}{:>10}{:>8}{:>10}{:>16}{:>10}{:>10}{:>10}\n", "", width, "training", "test", "accuracy", "95 %", "expected",
                      "balanced", "p (Holm)");
  size_t shown = 0;
  for (const json& group : by["groups"]) {
    if (shown++ == kShown) break;
    text += fmt::format("  {:<{}}{:>10}{:>8}{:>10}{:>16}{:>10}{:>10}{:>10}\n", group["name"].get<std::string>(), width,
                        group["memory"].get<int64_t>(), group["queries"].get<int64_t>(), percent(group["accuracy"]),
                        percent(group["interval95"][0]) + "-" + percent(group["interval95"][1]), percent(group["expected"]),
                        percent(group["balanced_accuracy"]), p_text(group["p_holm"]));
  }
  if (by["groups"].size() > kShown) text += fmt::format("  and {} more in results.json\n", by["groups"].size() - kShown);
  return text + "  " + worst_subgroup_text(by) + "\n";
}

// The method of a protocol that the verdict would speak of; "" where none of its methods is in that order.
std::string leading_method(const std::string& key, const json& methods) {
  for (const VerdictMethod& wanted : kVerdictOrder)
    if (wanted.protocol == key && methods.contains(wanted.method)) return std::string(wanted.method);
  return methods.empty() ? "" : methods.begin().key();
}

}  // namespace

std::string subgroup_table(const json& results) {
  std::string text;
  for (const auto& [key, suite] : results["suites"].items()) {
    const json& first = suite["results"][0];
    const json methods = first.value("methods", json::object());
    const std::string method = leading_method(key, methods);
    if (method.empty()) continue;
    for (const json& by : methods[method].value("subgroups", json::array()))
      text += fmt::format("by {}, in %: {}, {}, features of {}; expected: each class as often right as in all test images\n",
                          by["column"].get<std::string>(), protocol_word(key), method, first["name"].get<std::string>()) +
              lines_of(by);
  }
  return text;
}

}  // namespace dinoxx::eval
