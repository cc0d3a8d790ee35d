#pragma once
#include <map>
#include <string>

#include "report/page/thumbnails.hpp"
#include "results_view.hpp"

/// The parts of an evaluation's report, each from results.json alone; an empty answer: there is nothing of this kind in it.
namespace dinoxx::report {

Html verdict_section(const Results& results);
Html data_section(const Results& results, const Thumbnails& pictures);
Html checks_section(const Results& results, const Thumbnails& pictures);

Html methods_section(const Results& results);
Html comparisons_section(const Results& results);
Html knn_section(const Results& results);
Html clustering_section(const Results& results);
/// Segmentation and attention where masks are packed.
Html dense_section(const Results& results);
/// ROC and precision-recall of the rarest classes.
Html ranking_section(const Results& results);
/// Single images with their nearest training images.
Html neighbours_section(const Results& results, const Thumbnails& pictures);
/// Training images whose neighbours have another label.
Html suspicions_section(const Results& results, const Thumbnails& pictures);
/// How features use their space.
Html health_section(const Results& results);
/// PCA, attention and similarity of a few images; `files`: the PNGs beside results.json by name.
Html feature_pictures_section(const Results& results, const std::map<std::string, std::string>& files);
/// What no other section shows, of any protocol.
Html other_protocols_section(const Results& results);

Html classes_section(const Results& results);
Html confusion_section(const Results& results);
Html shots_section(const Results& results);
Html calibration_section(const Results& results);
/// `predictions`: the text of the chosen method's predictions_*.csv; "" for none.
Html misses_section(const Results& results, const Thumbnails& pictures, const std::string& predictions);

Html protocol_section(const Results& results);
Html provenance_section(const Results& results);

/// What the verdict says of a class: the first of these that holds, from kUntrained on.
enum class Trust {
  kGood,             ///< nothing below speaks against it
  kUntrained,        ///< no training image
  kUnmeasured,       ///< no test image
  kLowRecall,        ///< recall below one half
  kUnsureRecall,     ///< so few test images that recall may be below one half
  kLowPrecision,     ///< precision below one half
  kUnsurePrecision,  ///< so few predictions of the class that precision may be below one half
};
Trust trust_of(const nlohmann::json& row);
std::string trust_text(Trust trust);

}  // namespace dinoxx::report
