#pragma once
#include <map>
#include <string>

#include "report/page/thumbnails.hpp"
#include "results_view.hpp"

/// The parts of an evaluation's report, each from results.json alone; an empty answer: there is nothing of this kind in it.
namespace dinoxx::report {

Html verdict_section(const Results& results);
/// What to label, to look at, to merge, to collect; which protocol was worth its time.
Html next_section(const Results& results);
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
/// Test images on a plane by their features; `table`: the text of feature_map.csv, "" for none.
Html map_section(const Results& results, const std::string& table);
/// What no other section shows, of any protocol.
Html other_protocols_section(const Results& results);

Html classes_section(const Results& results);
/// What the user's thresholds or costs do to the answers (--recall, --cost).
Html decision_section(const Results& results);
/// Scores of classes that have an order; empty without --ordered.
Html ordered_section(const Results& results);
/// Images with several labels: what the verdict says, and the tables; empty without the protocol multi_label.
Html multi_label_verdict(const Results& results);
/// `predictions`: the text of predictions_multi_label.csv; "" for none.
Html multi_label_section(const Results& results, const Thumbnails& pictures, const std::string& predictions);
/// Scores by the columns of --by; empty without.
Html subgroups_section(const Results& results);
/// `predictions`: the text of the chosen method's predictions_*.csv; "" for none.
Html confusion_section(const Results& results, const Thumbnails& pictures, const std::string& predictions);
Html shots_section(const Results& results);
Html calibration_section(const Results& results);

Html protocol_section(const Results& results);
Html provenance_section(const Results& results);

/// What speaks against predictions of a class.
enum class Doubt {
  kUntrained,        ///< no training image
  kLowRecall,        ///< recall below one half
  kLowPrecision,     ///< precision below one half
  kUnmeasured,       ///< no test image
  kUnsureRecall,     ///< so few test images that recall may be below one half
  kUnsurePrecision,  ///< so few predictions of the class that precision may be below one half
};
/// What the last doubling of the labels gave a method of the few-shot curve.
struct LabelGain {
  std::string method;
  double before = 0, after = 0;  ///< balanced accuracy
  bool significant = false;      ///< the intervals over draws are apart
};
struct LabelGains {
  double shots_before = 0, shots_after = 0;
  std::vector<LabelGain> methods;  ///< empty: no curve, or no intervals
};
LabelGains label_gains(const Results& results);
/// All that hold, in the order of Doubt; none: the class can be relied on.
std::vector<Doubt> doubts_of(const nlohmann::json& row);
std::string doubt_text(Doubt doubt);
/// All of a class in words, "yes" for none: what stands under "reliable".
std::string doubts_text(const nlohmann::json& row);

/// Why the features of a row of feature_health are suspect; "" for no alarm.
std::string health_alarm(const nlohmann::json& health);

/// The one class that has test images, when no other has; "" else: no score tells classes apart then.
std::string only_tested_class(const nlohmann::json& scores);

}  // namespace dinoxx::report
