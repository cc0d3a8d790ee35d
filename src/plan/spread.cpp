#include "spread.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx::plan {
namespace {

const std::vector<std::pair<Policy, std::string>>& names() {
  static const std::vector<std::pair<Policy, std::string>> all{
      {Policy::kDdp, "ddp"}, {Policy::kZero1, "zero1"}, {Policy::kZero2, "zero2"}, {Policy::kZero3, "zero3"}};
  return all;
}

}  // namespace

std::string policy_name(Policy policy) {
  for (const auto& [known, name] : names())
    if (known == policy) return name;
  return "";
}

Policy policy_from_name(const std::string& name) {
  std::vector<std::string> all;
  for (const auto& [policy, known] : names()) {
    if (known == name) return policy;
    all.push_back(known);
  }
  const std::string near = nearest_name(name, all);
  fail_usage("--policy", fmt::format("one of {}", fmt::join(all, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? "Name one of these" : fmt::format("Did you mean {}?", near));
}

}  // namespace dinoxx::plan
