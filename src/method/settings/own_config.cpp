#include "own_config.hpp"

#include <nlohmann/json.hpp>

#include "data_pipeline/augment/views_config.hpp"
#include "eval/run/eval_config.hpp"
#include "method/method.hpp"
#include "method/shared/configure_views.hpp"
#include "resolve.hpp"

namespace dinoxx {

std::optional<Config> own_config(const WeightFile& file) {
  const nlohmann::json& settings = file.settings();
  if (!settings.is_object() || !settings.contains(kConfigKey) || !settings[kConfigKey].is_string()) return std::nullopt;
  Config config = default_config();
  apply_settings(config, parse_settings(settings[kConfigKey].get<std::string>(), file.path().string()));
  return config;
}

std::vector<FactSource> said_by_training(const WeightFile& file) {
  const std::optional<Config> found = own_config(file);
  if (!found) return {};
  const Config config = settled(*found);
  FactSource source{"the training's configuration", {}};
  const nlohmann::json& metadata = file.settings();
  if (!metadata.contains(kBackboneKey)) source.says = stated_facts(backbone_config(config));
  source.says.image_size = static_cast<int>(*config.eval->image_size);
  if (metadata.contains(kNormalizationKey)) return {source};
  FactSource views{"views.profile = " + config.views->profile + " of the training's configuration", {}};
  views.says.mean = normalization_of(config).mean;
  views.says.std = normalization_of(config).std;
  return {source, views};
}

}  // namespace dinoxx
