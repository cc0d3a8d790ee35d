#pragma once
#include <span>
#include <string>
#include <vector>

#include "evaluation.hpp"

namespace dinoxx::eval {

/// A protocol that is not compared, and why.
struct LeftOut {
  std::string protocol;  ///< its key
  std::string why;
};

/// What evaluations have in common.
struct Common {
  std::vector<std::string> protocols;  ///< keys of those that are compared, in the order of kProtocolNames
  std::vector<LeftOut> left_out;
  std::vector<std::string> notes;  ///< what a reader of the numbers must know
};

/// Whether the scores of these evaluations may stand beside one another, and which. Memory and queries have to be the same images with the
/// same labels. A protocol is compared when all have it, with the same settings; mean, standard deviation, size and crop of the input are
/// the network's own. UsageError, with the names of the two that do not fit: another data set, other classes, other memory or queries; no
/// protocol that all have; fewer than two evaluations; a folder that is named twice.
Common find_common(std::span<const Evaluation> evaluations);

}  // namespace dinoxx::eval
