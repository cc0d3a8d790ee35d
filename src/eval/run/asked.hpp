#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data_pipeline/labels/label_lists.hpp"
#include "eval_data.hpp"
#include "evaluate.hpp"
#include "protocols.hpp"

namespace dinoxx::eval {

/// What an evaluation is asked for, of a data set that has been opened.
struct Asked {
  std::shared_ptr<const Dataset> dataset;  ///< with the labels that are meant
  std::vector<BinaryLabel> labels;         ///< of which an image may have several; empty: an image has one class
  std::vector<const Protocol*> protocols;  ///< in their order
};

/// Protocols that are not named follow from the data. "all" are those that the labels allow: of images with several labels multi_label and
/// match, else all but multi_label. UsageError: no such column, protocols of one label an image on several and the other way round, options
/// that are about one class an image.
Asked what_is_asked(const EvaluateOptions& options, std::shared_ptr<const Dataset> dataset);
/// The same of the labels alone.
std::shared_ptr<const Dataset> labels_asked(const LabelChoice& choice, std::shared_ptr<const Dataset> dataset,
                                            std::vector<BinaryLabel>& labels);

}  // namespace dinoxx::eval
