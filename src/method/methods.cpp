#include "methods.hpp"

#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

// A new method is a file beside this one, or in two_views/ or without_prototypes/ (and its name in CMakeLists.txt), declared here and a
// line of the table.
Method dino_method();
Method ibot_method();
Method dinov2_method();
Method dinov3_method();
Method distill_method();
Method distill_features_method();
Method byol_method();
Method fastsiam_method();
Method simclr_method();
Method simdino_method();
Method simdinov2_method();
Method lejepa_method();
Method visreg_method();
Method vicreg_method();
Method barlow_twins_method();
Method swav_method();
Method emp_ssl_method();

const std::vector<Method>& methods() {
  static const std::vector<Method> table = {
      dino_method(),   ibot_method(),     dinov2_method(),       dinov3_method(),  distill_method(),   distill_features_method(),
      byol_method(),   fastsiam_method(), simclr_method(),       simdino_method(), simdinov2_method(), lejepa_method(),
      visreg_method(), vicreg_method(),   barlow_twins_method(), swav_method(),    emp_ssl_method(),
  };
  return table;
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Method& method : methods()) names.push_back(method.name);
  return names;
}

const Method& find_method(const std::string& name) {
  for (const Method& method : methods())
    if (method.name == name) return method;
  const std::string near = nearest_name(name, method_names());
  fail_usage("train.method", fmt::format("one of {}", fmt::join(method_names(), ", ")), fmt::format("\"{}\"", name),
             near.empty() ? std::string("Choose one of the known methods") : fmt::format("Did you mean {}?", near));
}

}  // namespace dinoxx
