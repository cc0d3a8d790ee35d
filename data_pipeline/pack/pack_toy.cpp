#include <nlohmann/json.hpp>

#include "base/json_text.hpp"
#include "pack_plan.hpp"

namespace dinoxx::detail {

PackPlan plan_toy(const ToyOptions& options) {
  const auto set = std::make_shared<const ToySet>(options);
  PackPlan plan;
  plan.columns.push_back({"label", set->class_names()});
  plan.has_splits = true;
  plan.items.resize(set->size());
  for (size_t i = 0; i < plan.items.size(); ++i) {
    plan.items[i].key = set->key(i);
    plan.items[i].labels = {set->label(i)};
    plan.items[i].split = set->split(i);
  }
  plan.draw = [set](size_t i, std::vector<uint8_t>& image, std::vector<uint8_t>& mask) {
    const ToyImage toy = set->draw(i);
    image = encode_png(toy.image);
    mask = encode_gray_png(toy.mask, toy.image.width, toy.image.height);
  };
  plan.provenance = json_text({{"kind", "toy"},
                               {"name", options.name},
                               {"count", options.count},
                               {"seed", options.seed},
                               {"size", options.size},
                               {"imbalance", options.imbalance}});
  return plan;
}

}  // namespace dinoxx::detail
