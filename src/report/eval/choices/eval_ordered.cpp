// Scores of classes that have an order (--ordered).
#include <fmt/format.h>

#include "report/eval/eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {

using nlohmann::json;

Html ordered_section(const Results& results) {
  Table table("How far off the answers are, with 95 % bootstrap intervals; errors in ranks",
              {"method", "features", "quadratic kappa", "mean error", "mean error, mean of the classes", "at most one rank off"});
  const auto cell = [](const json& of, const char* key) {
    const json& range = at(of, {"bootstrap95", key});
    Cell shown = plain(of, key);
    if (elements(range).size() == 2)
      shown.body += text(fmt::format(" [{}, {}]", figure(number_or_nan(range[0]), 3), figure(number_or_nan(range[1]), 3)));
    return shown;
  };
  const auto add = [&](const std::string& name, const std::string& features, const json& of) {
    if (of.is_object())
      table.add({words(name), words(features), cell(of, "quadratic_kappa"), cell(of, "mean_absolute_error"),
                 cell(of, "class_mean_absolute_error"), share(of, "within_one", at(of, {"bootstrap95", "within_one"}))});
  };
  for (const Method& method : results.methods()) add(method.name(), features_name(method.embedder), at(*method.scores, {"ordered"}));
  if (table.empty()) return {};
  add("always the most frequent class", "", at(results.all(), {"majority", "ordered"}));
  std::string order;
  for (const json& name : elements(at(results.all(), {"data", "order"})))
    order += (order.empty() ? "" : " < ") + (name.is_string() ? name.get<std::string>() : "");
  return paragraph(order +
                   ". Kappa with quadratic weights is 1 for right answers and 0 for answers that have nothing to do with the labels. The "
                   "mean error of uneven classes says little of the rare ones; its mean over the classes does.") +
         table.html();
}

}  // namespace dinoxx::report
