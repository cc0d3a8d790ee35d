#include "views_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> views_fields() {
  constexpr auto views = &Config::views;
  constexpr Range share{0, 1}, size{1, 16384};
  return {
      name<views, &ViewsConfig::profile>("views.profile", "auto", "augmentation (dinoxx info --profile NAME)"),
      when({where::one_resolution()},
           shapes_network(field<views, &ViewsConfig::global_size>("views.global_size", "224", "global crops, pixels", size))),
      field<views, &ViewsConfig::global_scale_min>("views.global_scale_min", "auto", "smallest area of a global crop, share of the image",
                                                   share),
      field<views, &ViewsConfig::global_scale_max>("views.global_scale_max", "auto", "largest area of a global crop, share of the image",
                                                   share),
      // vit_7b has a norm of its own for local crops that are smaller than the global ones
      shapes_network(field<views, &ViewsConfig::local_count>("views.local_count", "auto", "local crops of each image", {0, 64})),
      when({where::one_resolution(), where::local_crops()},
           shapes_network(field<views, &ViewsConfig::local_size>("views.local_size", "96", "local crops, pixels", size))),
      when({where::local_crops()}, field<views, &ViewsConfig::local_scale_min>("views.local_scale_min", "auto",
                                                                               "smallest area of a local crop, share of the image", share)),
      when({where::local_crops()}, field<views, &ViewsConfig::local_scale_max>("views.local_scale_max", "auto",
                                                                               "largest area of a local crop, share of the image", share)),
      shapes_network(field<views, &ViewsConfig::sizes>(
          "views.sizes", "",
          "several resolutions, GLOBALxLOCALxGRAM:SHARE with commas between, such as 512x112x768:0.3, 768x112x1152:0.7: each step has "
          "one (views.sizes_by), the same on all ranks. Empty: views.global_size, views.local_size and gram.size alone")),
      when(
          {where::several_resolutions()},
          choice<views, &ViewsConfig::sizes_by>(
              "views.sizes_by", "draw", {"draw", "time"},
              "draw: each step draws one of views.sizes by the shares; the first is what views.global_size, views.local_size and gram.size "
              "are elsewhere. time: one after the other, each for its share of train.length; the last is what they are elsewhere")),
      field<views, &ViewsConfig::flip>("views.flip", "0.5", "share of the crops that are mirrored (DINOv3's 7B: 0)", share),
      field<views, &ViewsConfig::blur>("views.blur", "yes", "Gaussian blur (turn off for images of few pixels)"),
      field<views, &ViewsConfig::color>("views.color", "yes",
                                        "changes of brightness, contrast and colour, gray and solarised views (turn off where these are "
                                        "what the images say: stains, bands)"),
  };
}

}  // namespace dinoxx
