#pragma once
#include <array>

namespace dinoxx::eval {

/// The method that a verdict and its evidence speak of is the first of these that was run, on the features of the checkpoint: fixed
/// beforehand, never picked by a score.
struct VerdictMethod {
  const char* protocol;  ///< its key in results.json (protocol_names.hpp)
  const char* method;
};
inline constexpr std::array<VerdictMethod, 11> kVerdictOrder{{{"linear", "logit_adjusted"},
                                                              {"linear", "plain"},
                                                              {"few", "simpleshot"},
                                                              {"knn", "balanced_vote"},
                                                              {"knn", "vote"},
                                                              {"sweep", "best_head"},
                                                              {"finetune", "lp-ft"},
                                                              {"finetune", "lora"},
                                                              {"finetune", "bitfit"},
                                                              {"finetune", "norm"},
                                                              {"finetune", "full"}}};

}  // namespace dinoxx::eval
