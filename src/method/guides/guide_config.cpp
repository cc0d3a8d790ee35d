#include "guide_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> guide_fields() {
  constexpr auto guide = &Config::guide;
  constexpr Range not_negative{0, kNoLimit};
  return {
      shapes_network(text<guide, &GuideConfig::learn>(
          "guide.learn",
          "label columns, with commas between, that the features shall tell: a head on the features of the global views learns each, and "
          "so does the backbone. NAME:number takes the values of a column as numbers")),
      shapes_network(text<guide, &GuideConfig::forget>(
          "guide.forget", "label columns that the features shall not tell, such as the site or the device; as in guide.learn")),
      when({where::forgotten_columns()},
           shapes_network(choice<guide, &GuideConfig::forget_by>(
               "guide.forget_by", "distance", {"distance", "reversal"},
               "distance: the distance correlation of features and column in the batch is a term of the loss; reversal: a head learns the "
               "column, and its gradient reaches the backbone with the other sign"))),
      when({where::learnt_columns()}, field<guide, &GuideConfig::learn_weight>(
                                          "guide.learn_weight", "auto", "weight of each column of guide.learn in the loss", not_negative)),
      when({where::forgotten_columns()}, field<guide, &GuideConfig::forget_weight>(
                                             "guide.forget_weight", "auto", "the same of each column of guide.forget", not_negative)),
      when({where::guide_heads()},
           field<guide, &GuideConfig::ramp>(
               "guide.ramp", "auto",
               "time in which the gradient that reaches the backbone rises from 0, by 2 / (1 + exp(-10 t)) - 1 of a t "
               "from 0 to 1; the heads learn all the time. auto: the run; 0: there from the start")),
      when({where::guide_heads()}, shapes_network(field<guide, &GuideConfig::hidden_dim>(
                                       "guide.hidden_dim", "256", "width of the hidden layer of each head; 0: a linear head", {0, 1e6}))),
      when({where::guide_heads()},
           shapes_network(field<guide, &GuideConfig::outputs>(
               "guide.outputs", "auto", "classes of each column, those of guide.learn first, 1 for numbers; auto: those of the data set",
               {1, 1e9}))),
  };
}

}  // namespace dinoxx
