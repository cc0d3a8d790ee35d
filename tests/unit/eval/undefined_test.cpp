// Every figure that may be undefined, with the set that makes it so and the reason that stands beside the null. Nothing is filled in. What
// scikit-learn and SciPy say in such cases is listed in tests/golden/eval/statistics_golden_test.cpp.
#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <set>

#include "eval/classify/cluster_scores.hpp"
#include "eval/run/checks.hpp"
#include "eval/statistics/calibration.hpp"
#include "eval/statistics/resampling.hpp"
#include "eval/statistics/statistics.hpp"
#include "ladder_sets.hpp"
#include "support/small_vit.hpp"

namespace dinoxx::testing_support {
namespace {

using Labels = std::vector<int32_t>;
using Scores = std::vector<double>;
constexpr double kNever = -std::numeric_limits<double>::infinity();

TEST(Undefined, EachFigureByItself) {
  const Tally none = tally({}, {}, 3);
  const Tally of_one = tally(Labels{1, 1}, Labels{1, 0}, 3), to_one = tally(Labels{0, 1}, Labels{1, 1}, 3);
  const Scores even{0.5, 0.5};
  const auto ranked = [&](const std::vector<uint8_t>& positive) {
    return std::pair{auroc(even, positive), average_precision(even, positive)};
  };
  const auto no_positive = ranked({0, 0}), no_negative = ranked({1, 1});
  const Ranking no_images = one_against_rest({}, {}, 2), one_class = one_against_rest(Labels{0, 0}, Scores{1, 0, 1, 0}, 2);
  const ShotRecall many = recall_by_training_count(of_one, std::vector<int64_t>{500, 500, 500}),
                   few = recall_by_training_count(of_one, std::vector<int64_t>{500, 3, 500});
  const Calibration no_rows = calibrate({}, {}, 2), never = calibrate(Labels{0}, Scores{0, 1}, 2);
  const Scores right{9, 0, 0, 9}, wrong{0, 9, 9, 0};
  const std::vector<int64_t> empty(4), one_cell{5, 0, 0, 0}, apart{1, 0, 0, 1};

  const char *images = "no test images", *of_class = "no test images of the class", *all_of_class = "all test images are of the class",
             *macro = "no class has both positive and negative test images";
  struct Case {
    const char* what;
    Stat stat;
    const char* reason;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"accuracy without images", accuracy(none), images},
           {"balanced accuracy without images", balanced_accuracy(none), images},
           {"macro F1 without images", macro_f1(none), images},
           {"MCC without images", matthews(none), images},
           {"MCC of one class", matthews(of_one), "all test images are of one class"},
           {"MCC of one answer", matthews(to_one), "all predictions are the same class"},
           {"recall of a class without images", recall(of_one, 0), of_class},
           {"precision of a class that is never the answer", precision(to_one, 0), "the class is never predicted"},
           {"F1 of a class with neither", f1(of_one, 2), "the class has neither test images nor predictions"},
           {"recall, many", few.many, "no class with more than 100 training images has test images"},
           {"recall, medium", many.medium, "no class with 20 to 100 training images has test images"},
           {"recall, few", many.few, "no class with fewer than 20 training images has test images"},
           {"AUROC without positives", no_positive.first, of_class},
           {"AUPRC without positives", no_positive.second, of_class},
           {"AUROC without negatives", no_negative.first, all_of_class},
           {"AUPRC without negatives", no_negative.second, all_of_class},
           {"macro AUROC without images", no_images.macro_auroc, macro},
           {"macro AUPRC without images", no_images.macro_auprc, macro},
           {"macro AUROC of one class", one_class.macro_auroc, macro},
           {"macro AUPRC of one class", one_class.macro_auprc, macro},
           {"ECE, equal mass", no_rows.ece_mass, images},
           {"ECE, equal width", no_rows.ece_width, images},
           {"class-wise ECE, equal mass", no_rows.classwise_mass, images},
           {"class-wise ECE, equal width", no_rows.classwise_width, images},
           {"Brier score", no_rows.brier, images},
           {"NLL without images", no_rows.nll, images},
           {"NLL where the truth has probability 0", never.nll,
            "a test image has probability 0 for its true class (no training image of that class?)"},
           {"temperature without images", fit_temperature({}, {}, 2), "no image to fit it on"},
           {"temperature when no label can be given", fit_temperature(Labels{0}, Scores{kNever, 0}, 2), "no image to fit it on"},
           {"temperature when all is right", fit_temperature(Labels{0, 1}, right, 2),
            "all images that it is fitted on are classified correctly: the best temperature is 0"},
           {"temperature when all is wrong", fit_temperature(Labels{0, 1}, wrong, 2),
            "the logits are no better than chance: the temperature is unbounded"},
           {"matched accuracy", matched_accuracy(empty, 2, 2), images},
           {"NMI of one class and one cluster", mutual_information(one_cell, 2, 2), "one class and one cluster only"},
           {"ARI of one class and one cluster", adjusted_rand(one_cell, 2, 2), "one class and one cluster only"},
           {"ARI of images that share nothing", adjusted_rand(apart, 2, 2), "no two images share a class or a cluster"},
           {"interval of one value", t_interval(Scores{0.5}).half_width, "fewer than two values"},
       }) {
    EXPECT_FALSE(c.stat.value) << c.what;
    EXPECT_EQ(c.stat.reason, c.reason) << c.what;
  }
  EXPECT_EQ(percentile_interval({NAN, NAN, 0.5}).reason, "undefined in more than half of the bootstrap resamples");
  EXPECT_EQ(percentile_interval({0.5, 0.5, 0.5}).reason,
            "all bootstrap resamples give the same value: there are too few images, or they do not vary");
}

// Every "name: reason" below `json`, and that the name's value is null and no other null is without a reason.
void collect(const json& value, std::set<std::string>& found) {
  if (value.is_array()) {
    for (const json& item : value) collect(item, found);
    return;
  }
  if (!value.is_object()) return;
  for (const auto& [key, item] : value.items()) {
    if (key == "undefined") {
      for (const auto& [name, reason] : item.items()) {
        EXPECT_TRUE(value.contains(name) && value[name].is_null()) << name;
        found.insert(name + ": " + reason.get<std::string>());
      }
    } else if (item.is_null()) {
      EXPECT_TRUE(value.contains("undefined") && value["undefined"].contains(key)) << key << " is null without a reason";
    } else {
      collect(item, found);
    }
  }
}

std::set<std::string> reasons(const Set& set, double noise) {
  std::set<std::string> found;
  for (const char* step : {"knn", "zero", "few", "linear"}) collect(climb(set, noise, step).scores.at(step), found);
  collect(check_splits(set.dataset, set.data), found);
  return found;
}

TEST(Undefined, InResultsOfAwkwardSets) {
  // in all of them: these sets have neither hashes nor groups, and all methods but the linear ones give no probabilities
  const std::set<std::string> always{"identical: this data set has no hashes of its images", "groups: this data set has no groups",
                                     "auroc: the method predicts a class without probabilities",
                                     "auprc: the method predicts a class without probabilities"};
  const std::string many = "recall_many: no class with more than 100 training images has test images",
                    medium = "recall_medium: no class with 20 to 100 training images has test images",
                    few = "recall_few: no class with fewer than 20 training images has test images",
                    no_class = ": no test images of the class", no_folds = ": no class has two training images (or groups) to ",
                    no_temperature =
                        ": no finite temperature fits the images that C was chosen on (all classified correctly, or no better than chance)",
                    no_match = "map: no test image of the class, or none in the memory", never = "precision: the class is never predicted",
                    no_probability = "nll: a test image has probability 0 for its true class (no training image of that class?)",
                    one_shot = "accuracy: fewer than two classes have 1 training images and a test image",
                    five_shots = "accuracy: fewer than two classes have 5 training images and a test image",
                    same_folds = "interval95: all folds give the same value: they say nothing about its spread",  // of the majority class
      one_tested = ": all test images are of one class", would_be_right = ": always predicting it would be right",
                    no_macro = ": no class has both positive and negative test images", all_of_class = ": all test images are of the class";
  struct Case {
    const char* what;
    std::vector<int> train, test;
    double noise;
    std::set<std::string> expected;
  };
  for (const Case& c : std::vector<Case>{
           {"one training image of each class",
            {1, 1, 1},
            {5, 5, 5},
            0.05,
            {many, medium, five_shots, "temperature" + no_folds + "try a setting on", "after" + no_folds + "try a setting on",
             "mean" + no_folds + "hold one out"}},
           {"a class without training images",
            {20, 0, 20},
            {5, 5, 5},
            0.05,
            {many, no_match, no_probability, never, same_folds, "temperature" + no_temperature, "after" + no_temperature}},
           {"a class without test images",
            {20, 20, 20},
            {5, 0, 5},
            0.6,
            {many, few, no_match, never, same_folds, "recall" + no_class, "auroc" + no_class, "auprc" + no_class,
             "f1: the class has neither test images nor predictions"}},
           {"more classes than training images",
            {1, 1, 0},
            {1, 1, 1},
            0.05,
            {many, medium, five_shots, no_match, no_probability, never, "accuracy: 3 classes, and the memory holds 2 images",
             "temperature" + no_folds + "try a setting on", "after" + no_folds + "try a setting on", "mean" + no_folds + "hold one out"}},
           {"one class in test",
            {150, 150},
            {0, 4},
            0.6,
            {medium,
             few,
             no_match,
             one_shot,
             five_shots,
             same_folds,
             "accuracy" + one_tested,
             "balanced_accuracy" + one_tested,
             "accuracy" + one_tested + would_be_right,
             "balanced_accuracy" + one_tested + would_be_right,
             "macro_f1" + one_tested + would_be_right,
             "recall" + no_class,
             "auroc" + no_class,
             "auprc" + no_class,
             "auroc" + no_macro,
             "auprc" + no_macro,
             "auroc" + all_of_class,
             "auprc" + all_of_class,
             "mcc: all test images are of one class",
             "temperature" + no_temperature,
             "after" + no_temperature}},
       }) {
    std::set<std::string> expected = c.expected;
    expected.insert(always.begin(), always.end());
    EXPECT_EQ(reasons(make_set(c.train, c.test), c.noise), expected) << c.what;
  }
}

// Masks of the test images, one character each: h the upper half is the object, e there is none.
std::set<std::string> reasons_of_dense_steps(const std::string& masks) {
  MemoryDataset dataset;
  dataset.set_class_names({"a", "b", "without images"});
  std::vector<uint8_t> half(256, 0);
  const std::vector<uint8_t> empty = half;
  std::fill_n(half.begin(), 128, 255);
  const auto add = [&](Split split, int label, const std::vector<uint8_t>& mask) {
    Image image{16, 16, std::vector<uint8_t>(768)};
    CounterRng rng(3, dataset.size(), 0, Purpose::kEval);
    for (uint8_t& byte : image.data) byte = static_cast<uint8_t>(rng.below(256));
    for (int i = 0; i < 384 && mask[0] != 0; ++i) image.data[i] = static_cast<uint8_t>(200 + rng.below(50));
    dataset.set_mask(dataset.add_image(split, label, image), encode_gray_png(mask, 16, 16));
  };
  for (int i = 0; i < 10; ++i) add(Split::kTrain, i % 2, half);
  for (const char mask : masks) add(Split::kTest, 0, mask == 'h' ? half : empty);
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const auto network = small_backbone(2, 3);
  const Embedder embedder = backbone_embedder("teacher", "", *network);
  const ExtractOptions images{{0, 16}, imagenet_normalization(), 1};
  const auto comm = make_self_communicator();
  const KnnConfig knn;
  const SplitFeatures none;
  const ProtocolInput input{dataset, data, embedder, none, knn, 0, 1, *comm, &images};
  std::set<std::string> found;
  collect(segmentation_protocol(input).scores, found);
  collect(match_protocol(input).scores, found);
  return found;
}

TEST(Undefined, InDenseSteps) {
  const std::string class_less = "iou: no test mask has the class, and no answer",
                    equal = ": all bootstrap resamples give the same value: there are too few images, or they do not vary",
                    mostly = ": undefined in more than half of the bootstrap resamples", no_point = ": no points",
                    no_mutual = ": no point is the nearest match of its own answer";
  const auto of = [](std::initializer_list<const char*> names, const std::string& reason) {
    std::set<std::string> result;
    for (const char* name : names) result.insert(name + reason);
    return result;
  };
  const auto all = [](std::initializer_list<std::set<std::string>> sets) {
    std::set<std::string> result;
    for (const std::set<std::string>& set : sets) result.insert(set.begin(), set.end());
    return result;
  };
  const std::initializer_list<const char*> shares{"0.05", "0.1", "0.2"};
  EXPECT_EQ(reasons_of_dense_steps("hhhh"), std::set<std::string>{class_less});
  // one test image is in every resample
  EXPECT_EQ(reasons_of_dense_steps("h"),
            all({{class_less},
                 of({"object_miou", "classes_miou", "attention_mean_map", "attention_oracle_head_of_each_image"}, equal),
                 of(shares, equal)}));
  // masks that show no object
  EXPECT_EQ(reasons_of_dense_steps("eeee"), all({{class_less},
                                                 of({"object_miou", "classes_miou"}, equal),  // all of every image is background
                                                 of({"attention_mean_map", "attention_oracle_head_of_each_image"}, mostly),
                                                 of(shares, mostly),
                                                 of(shares, no_point),
                                                 of(shares, no_mutual),
                                                 of({"share"}, no_point)}));
}

}  // namespace
}  // namespace dinoxx::testing_support
