#include "gram_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> gram_fields() {
  constexpr auto gram = &Config::gram;
  constexpr Range count{0, 1e9}, not_negative{0, kNoLimit};
  return {
      field<gram, &GramConfig::weight>("gram.weight", "0", "weight of Gram anchoring, from the end of the ramp on; 0: off", not_negative),
      when({where::gram_or_moving_local_weight()}, field<gram, &GramConfig::start>("gram.start", "0it", "when it begins")),
      when({where::gram_or_moving_local_weight()},
           field<gram, &GramConfig::ramp>("gram.ramp", "0it", "from 0 to its weight by half a cosine")),
      when({where::gram()},
           text<gram, &GramConfig::teacher>("gram.teacher",
                                            "whose patches: a run folder, checkpoint or weight file; ema: the current teacher; empty: this "
                                            "run's teacher as it was at gram.first")),
      when({where::own_gram_teacher()},
           field<gram, &GramConfig::first>(
               "gram.first", "0it",
               "when the Gram teacher is taken from the teacher for the first time; with a file: for the first time again (0: never)")),
      when({where::renewed_gram_teacher()}, field<gram, &GramConfig::every>("gram.every", "0it", "between two more of these; 0: none")),
      when({where::several_gram_teachers()},
           field<gram, &GramConfig::max_updates>("gram.max_updates", "3",
                                                 "updates at most; the first teacher of a run without a file is none", count)),
      when({where::one_resolution(), where::own_gram_teacher()},
           field<gram, &GramConfig::size>(
               "gram.size", "0", "crops for the Gram teacher, pixels: the global crops without distortions; 0: the global crops themselves",
               {0, 16384})),
      when({where::gram()}, field<gram, &GramConfig::group_size>(
                                "gram.group_size", "0", "images whose patches are compared together; 0: each image by itself", count)),
      when({where::gram()}, choice<gram, &GramConfig::negatives>("gram.negatives", "keep", {"keep", "both", "teacher"},
                                                                 "negative similarities: keep, remove in both, remove in the teacher")),
      when({where::gram()}, choice<gram, &GramConfig::tokens>("gram.tokens", "all", {"all", "masked", "unmasked"}, "patches that count")),
  };
}

}  // namespace dinoxx
