#include "mask_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> mask_fields() {
  constexpr auto mask = &Config::mask;
  constexpr Range count{0, 1e9}, share{0, 1};
  return {
      shapes_network(choice<mask, &MaskConfig::scheme>(
          "mask.scheme", "auto", {"auto", "none", "dinov2", "dinov3", "ibot-block", "ibot-random"},
          "which patches of global crops the student does not see, as the method of that name draws them; a "
          "convolutional network has none")),
      when({where::masks()},
           field<mask, &MaskConfig::probability>("mask.probability", "0.5", "share of the global crops that get a mask", share)),
      when({where::masks()}, field<mask, &MaskConfig::ratio_min>("mask.ratio_min", "0.1", "smallest masked share of a masked crop", share)),
      when({where::masks()}, field<mask, &MaskConfig::ratio_max>("mask.ratio_max", "0.5", "largest masked share of a masked crop", share)),
      when({where::masks()}, field<mask, &MaskConfig::group_size>(
                                 "mask.group_size", "0",
                                 "images among which masks are shared out, a divisor of a rank's batch; 0: 16, or the largest "
                                 "divisor of 16 that divides a rank's batch",
                                 count)),
      when({where::masks_in_strata()}, field<mask, &MaskConfig::shift>("mask.shift", "no", "move masks along both axes, around the edges")),
  };
}

}  // namespace dinoxx
