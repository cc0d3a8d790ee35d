#include "eval_config.hpp"

#include "config/config.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> eval_fields() {
  constexpr auto eval = &Config::eval;
  constexpr Range positive{1, 1e9};
  return {
      not_training(field<eval, &EvalConfig::every>("eval.every", "1ep", "between two evaluations of the teacher; 0: none")),
      not_training(text<eval, &EvalConfig::suite>(
          "eval.suite", "protocols, separated by commas (dinoxx eval --help); scored on val or a held-out part of train, never on test",
          "knn")),
      not_training(field<eval, &EvalConfig::knn_k>("eval.knn_k", "10,20,100,200", "neighbours", positive)),
      not_training(field<eval, &EvalConfig::image_size>(
          "eval.image_size", "auto",
          "of the images that are evaluated, pixels, here and later where nothing else is said; larger than views.global_size where small "
          "crops at full resolution are learned from; auto: views.global_size",
          {1, 16384})),
  };
}

}  // namespace dinoxx
