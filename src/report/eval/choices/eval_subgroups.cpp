// Scores of the test images of each site, device or other value of a label column (--by).
#include <fmt/format.h>

#include "report/eval/eval_sections.hpp"
#include "report/run/run_figures.hpp"
#include "results/subgroup_text.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

Html table_of(const json& by, const std::string& caption) {
  Table table(caption,
              {"subgroup", "training images", "test images", "accuracy", "expected", "balanced accuracy", "p, all subgroups together"});
  for (const json& group : elements(at(by, {"groups"})))
    table.add({words(text_of(group, "name")), count(group, "memory"), count(group, "queries"),
               share(group, "accuracy", at(group, {"interval95"})), share(group, "expected"), share(group, "balanced_accuracy"),
               plain(group, "p_holm")});
  return table.html();
}

}  // namespace

Html subgroups_section(const Results& results) {
  Html body, others;
  for (const Method& method : results.methods()) {
    if (method.embedder != results.checkpoint()) continue;
    const bool chosen = results.chosen() && method.protocol == results.chosen()->protocol && method.method == results.chosen()->method;
    for (const json& by : elements(at(*method.scores, {"subgroups"}))) {
      const Html table = table_of(by, fmt::format("By {}: {}, in % with 95 % intervals", text_of(by, "column"), method.name()));
      const Html all = paragraph(fmt::format("{}, {}: {}.", text_of(by, "column"), method.name(), worst_subgroup_text(by))) + table;
      (chosen ? body : others) += all;
    }
  }
  if (body.code.empty() && others.code.empty()) return {};
  body += others.code.empty() || body.code.empty() ? others : details("Other methods", others);
  return paragraph(
             "Expected: the accuracy if every class were recognised as often as in all test images that have a value here, so what the "
             "subgroup's mix of classes alone explains. p: of the hypothesis that answers are right as often here as elsewhere, class by "
             "class (Mantel-Haenszel), corrected for the number of subgroups (Holm). Images count as independent.") +
         body;
}

}  // namespace dinoxx::report
