#include "configure_views.hpp"

#include "config/fact_values.hpp"
#include "data_pipeline/augment/view_profiles.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "loss/gram_config.hpp"
#include "model/model_config.hpp"

namespace dinoxx {

Normalization normalization_of(const Config& config) {
  Normalization normalization = profile_normalization(config.views->profile);
  if (config.model->mean != "auto") normalization.mean = parse_channels(config.model->mean);
  if (config.model->std != "auto") normalization.std = parse_channels(config.model->std);
  return normalization;
}

void configure_views(MethodSpec& spec, const Config& config) {
  const ViewsConfig& views = *config.views;
  ProfileOptions options;
  options.global_scale_min = views.global_scale_min;
  options.global_scale_max = views.global_scale_max;
  options.local_count = static_cast<int>(*views.local_count);
  if (*views.local_count > 0) {
    options.local_scale_min = views.local_scale_min;
    options.local_scale_max = views.local_scale_max;
  }
  options.flip_p = views.flip;
  if (!views.blur) options.blur = false;
  if (!views.color) options.color = false;
  for (const ViewSizes& sizes : resolutions(config)) {
    options.global_size = static_cast<int>(sizes.global);
    if (*views.local_count > 0) options.local_size = static_cast<int>(sizes.local);
    options.gram_size.reset();
    if (config.gram->weight > 0 && sizes.gram > 0) options.gram_size = static_cast<int>(sizes.gram);
    ViewPlan plan = profile_views(views.profile, options);
    plan.share = sizes.share;
    plan.normalization = normalization_of(config);
    if (spec.views.views.empty())
      spec.views = std::move(plan);
    else
      spec.other_views.push_back(std::move(plan));
  }
}

}  // namespace dinoxx
