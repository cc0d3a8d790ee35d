#pragma once
#include <nlohmann/json.hpp>

namespace dinoxx::report {

/// Scores in the form of results.json, every number another; `shift` makes those of two methods differ.
inline nlohmann::json scores_of(double shift) {
  using nlohmann::json;
  const auto row = [&](const char* name, int memory, int queries, double recall) {
    return json{{"name", name},
                {"memory", memory},
                {"queries", queries},
                {"predicted", queries + 1},
                {"correct", 1},
                {"recall", recall + shift},
                {"interval95", {recall + shift - 0.0611, recall + shift + 0.0322}},
                {"precision", recall - 0.0133},
                {"precision95", {recall - 0.0777, recall + 0.0288}},
                {"f1", recall - 0.0044},
                {"auroc", recall + 0.0155},
                {"auprc", recall - 0.0266}};
  };
  json classes = json::array({row("oak", 731, 113, 0.8123), row("elm", 57, 29, 0.4321), row("ash", 17, 11, 0.5219)});
  classes.push_back({{"name", "fir"}, {"memory", 3}, {"queries", 0}, {"recall", nullptr}, {"undefined", {{"recall", "no test image"}}}});
  return {
      {"count", 153},
      {"correct", 101},
      {"accuracy", 0.6604 + shift},
      {"interval95", {0.5813 + shift, 0.7307 + shift}},
      {"balanced_accuracy", 0.5888 + shift},
      {"macro_f1", 0.5717 + shift},
      {"mcc", 0.4242 + shift},
      {"auroc", 0.8765 + shift},
      {"auprc", nullptr},
      {"undefined", {{"auprc", "because it is so"}}},
      {"recall_many", 0.8123 + shift},
      {"recall_medium", 0.4321 + shift},
      {"recall_few", 0.5219 + shift},
      {"worst_class", {{"name", "elm"}, {"recall", 0.4321 + shift}, {"queries", 29}}},
      {"bootstrap95", {{"balanced_accuracy", {0.5011 + shift, 0.6622 + shift}}, {"macro_f1", {0.4914 + shift, 0.6515 + shift}}}},
      {"C", 0.0316},
      {"temperature", 1.3579},
      {"confusion", {{{"class", "oak"}, {"predicted", "elm"}, {"images", 19}}, {{"class", "oak"}, {"predicted", "oak"}, {"images", 94}}}},
      {"calibration",
       {{"before",
         {{"ece_equal_mass", 0.0911},
          {"ece_equal_width", 0.0922},
          {"classwise_ece_equal_mass", 0.0311},
          {"classwise_ece_equal_width", 0.0322},
          {"nll", 1.0933},
          {"brier", 0.5944}}},
        {"after",
         {{"ece_equal_mass", 0.0411},
          {"ece_equal_width", 0.0422},
          {"classwise_ece_equal_mass", 0.0211},
          {"classwise_ece_equal_width", 0.0222},
          {"nll", 1.0433},
          {"brier", 0.5444}}},
        {"reliability",
         {{{"images", 51}, {"confidence", 0.31}, {"accuracy", 0.27}}, {{"images", 52}, {"confidence", 0.81}, {"accuracy", 0.69}}}}}},
      {"classes", classes}};
}

/// A small results.json with every section of the ladder.
inline nlohmann::json small_results() {
  using nlohmann::json;
  const auto draws = [](double mean) {
    return json{
        {"mean", mean}, {"deviation", 0.0101}, {"min", mean - 0.02}, {"max", mean + 0.02}, {"interval95", {mean - 0.0071, mean + 0.0072}}};
  };
  const auto shots = [&](int k, double at) {
    return json{{"shots", k},
                {"draws", 10},
                {"images", 4 * k},
                {"methods", {{"simpleshot", {{"balanced_accuracy", draws(at)}}}, {"logistic", {{"left_out", "too large"}}}}}};
  };
  const json episodes = json::array({{{"ways", 4},
                                      {"shots", 1},
                                      {"episodes", 600},
                                      {"methods", {{"nearest_mean", {{"accuracy", 0.6161}, {"interval95", {0.6061, 0.6262}}}}}}}});
  json results = {
      {"format", "dinoxx results"},
      {"version", 1},
      {"seed", 0},
      {"checkpoint",
       {{"file", "run/teacher.safetensors"},
        {"crc32c", "0badcafe"},
        {"step", 6250},
        {"model", {{"dim", 192}, {"heads", 3}}},
        {"notes", json::array()}}},
      {"data", {{"path", "data/trees"}, {"fingerprint", "f00d"}, {"images", 2087}, {"classes", {"oak", "elm", "ash", "fir"}}}},
      {"majority", scores_of(-0.3)},
      {"bootstrap", {{"resamples", 2000}, {"drawn", "test images"}}},
      {"checks",
       {{"identical",
         {{"images", 7},
          {"with_another_label", 2},
          {"examples", {{{"image", "test/1.png"}, {"memory", "train/2.png"}, {"same_label", false}}}}}},
        {"identical_validation", {{"images", 9}, {"with_another_label", 4}}},
        {"identical_validation_queries", {{"images", 5}, {"with_another_label", 3}}},
        {"groups", nullptr},
        {"groups_validation", {{"groups", 12}, {"queries", 34}}},
        {"groups_validation_queries", {{"groups", 14}, {"queries", 36}}},
        {"undefined", {{"groups", "no groups here"}}},
        {"near_identical",
         {{"embedder", "teacher"},
          {"cosine", 0.98},
          {"looked_at", 153},
          {"queries", 13},
          {"median_cosine", 0.7171},
          {"validation", {{"looked_at", 77}, {"queries", 16}, {"median_cosine", 0.6161}}},
          {"validation_queries", {{"looked_at", 151}, {"queries", 18}, {"median_cosine", 0.5151}}},
          {"examples", {{{"image", "test/3.png"}, {"memory", "train/4.png"}, {"cosine", 0.99123}, {"same_label", true}}}}}},
        {"labels", {{"total_variation", 0.2468}, {"classes_not_in_memory", json::array()}, {"classes_without_queries", {"fir"}}}},
        {"warnings", {"7 of 153 test images are in the memory too"}}}},
      {"comparisons",
       {{{"first", {"linear", "teacher", "logit_adjusted"}},
         {"second", {"linear", "untrained", "logit_adjusted"}},
         {"mcnemar", {{"only_first_right", 37}, {"only_second_right", 8}, {"p", 1.6e-05}}},
         {"difference95", {{"balanced_accuracy", {0.0917, 0.2183}}, {"accuracy", {0.0816, 0.2084}}}}},
        {{"first", {"knn", "teacher", "vote"}},
         {"second", "majority"},
         {"mcnemar", {{"only_first_right", 41}, {"only_second_right", 6}, {"p", 2.7e-07}}},
         {"difference95", {{"balanced_accuracy", nullptr}, {"undefined", {{"balanced_accuracy", "mostly undefined"}}}}}}}},
      {"run",
       {{"command", "dinoxx eval --checkpoint run"},
        {"ranks", 2},
        {"threads", 1},
        {"build", {{"git", "abc"}}},
        {"peak_memory_bytes", 1234567890},
        {"seconds", {{"knn", 3.25}, {"total", 77.5}}},
        {"steps", {{"linear", {{"teacher", {{"plain", {{"seconds", 12.75}}}}}}}}}}}};
  const json images = {{"memory", {{"source", "train"}, {"images", 808}}},
                       {"queries", {{"source", "test"}, {"images", 153}}},
                       {"classes", 4},
                       {"transform", "224 x 224"},
                       {"unlabelled_left_out", 5},
                       {"notes", {"a note"}}};
  double shift = 0;
  for (const char* embedder : {"teacher", "untrained"}) {
    const json name = {{"name", embedder}, {"description", std::string("what ") + embedder + " is"}, {"feature_dim", 192}};
    json knn = name, few = name, linear = name, zero = name;
    const auto entry = [&](double a) { return json{{"accuracy", a + shift}, {"interval95", {a + shift - 0.05, a + shift + 0.04}}}; };
    knn["by_k"] = {{"10", entry(0.6111)}, {"20", entry(0.6222)}};
    knn["balanced_vote"]["by_k"] = {{"10", entry(0.6333)}, {"20", entry(0.6444)}};
    knn["methods"]["vote"] = scores_of(shift - 0.011);
    few["curve"] = {shots(1, 0.3101 + shift), shots(2, 0.3402 + shift)};
    few["episodes"] = episodes;
    few["left_out"] = {{"logistic", "a fit would be too large"}};
    linear["methods"]["logit_adjusted"] = scores_of(shift);
    linear["methods"]["plain"] = scores_of(shift - 0.023);
    zero["clustering"] = {{"accuracy", 0.3737 + shift}, {"nmi", 0.2929 + shift}, {"ari", 0.1515 + shift}};
    zero["retrieval"] = {{"map", 0.3838 + shift}, {"map_of_classes", 0.3636 + shift}};
    results["suites"]["knn"]["results"].push_back(knn);
    results["suites"]["few"]["results"].push_back(few);
    results["suites"]["linear"]["results"].push_back(linear);
    results["suites"]["zero"]["results"].push_back(zero);
    shift -= 0.1717;
  }
  const json pixel = {
      {"miou", 0.7373}, {"accuracy", 0.9191}, {"iou", {{{"name", "background"}, {"iou", 0.9595}}, {{"name", "object"}, {"iou", 0.5151}}}}};
  results["suites"]["linseg"]["results"].push_back(
      {{"name", "teacher"},
       {"object", {{"C", 0.0707}, {"pixel", pixel}, {"all_background", {{"miou", 0.4545}}}}},
       {"classes", {{"left_out", "too many multiplications"}}},
       {"attention",
        {{"images", 149},
         {"heads", {0.21, 0.32}},
         {"mean_of_heads", 0.2626},
         {"mean_map", 0.3131},
         {"oracle_head_of_each_image", 0.4343},
         {"oracle_head_of_the_set", {{"head", 1}, {"jaccard", 0.3939}}},
         {"all_object", 0.1919}}},
       {"bootstrap95", {{"object_miou", {0.7171, 0.7575}}, {"attention_mean_map", {0.2929, 0.3333}}}}});
  results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"]["ranking_curves"] = {
      {"rule", "the rarest"},
      {"classes",
       {{{"name", "ash"},
         {"memory", 17},
         {"queries", 11},
         {"auroc", 0.9292},
         {"auprc", 0.4848},
         {"roc", {{0.0, 0.0}, {0.0171, 0.7474}, {1.0, 1.0}}},
         {"pr", {{0.2424, 0.9797}, {1.0, 0.1313}}},
         {"operating_points",
          {{{"recall_at_least", 0.5},
            {"threshold", 0.3131},
            {"recall", 0.5454},
            {"precision", 0.6363},
            {"false_positive_rate", 0.0303},
            {"answers", 14}}}}},
        {{"name", "fir"}, {"memory", 3}, {"queries", 0}, {"auroc", nullptr}, {"undefined", {{"auroc", "not one of it"}}}}}}};
  const json by_rule = {{"recall", 0.9494},
                        {"precision", 0.2323},
                        {"answered_share", 0.4141},
                        {"accuracy", 0.5757},
                        {"balanced_accuracy", 0.5959},
                        {"interval95", {{"recall", {0.8989, 0.9898}}, {"balanced_accuracy", {0.5353, 0.6464}}}}};
  const json argmax = {{"recall", nullptr}, {"undefined", {{"recall", "no image of the class"}}}, {"accuracy", 0.6161}};
  results["suites"]["linear"]["results"][0]["methods"]["logit_adjusted"]["decision"] = {
      {"rule",
       {{"kind", "recall"},
        {"class", "ash"},
        {"wanted_recall", 0.95},
        {"threshold", 0.0727},
        {"images", 17},
        {"found", 16},
        {"recall_at_least", 0.7475},
        {"confidence_of_bound", 0.95},
        {"chosen_on", "val split"},
        {"note", "too few to be sure"}}},
      {"test",
       {{"images", 101},
        {"rule", by_rule},
        {"argmax", argmax},
        {"classes",
         {{{"name", "ash"},
           {"images", 11},
           {"answered", 31},
           {"recall", 0.8181},
           {"precision", 0.2929},
           {"argmax_answered", 7},
           {"argmax_recall", 0.5454},
           {"argmax_precision", nullptr},
           {"undefined", {{"argmax_precision", "no image is answered so"}}}}}}}},
      {"validation", {{"images", 51}, {"rule", by_rule}, {"argmax", argmax}}}};
  const json neighbours = json::array({{{"image", "train/7.png"}, {"label", "oak"}, {"similarity", 0.9191}},
                                       {{"image", "train/8.png"}, {"label", "elm"}, {"similarity", 0.8181}}});
  results["evidence"] = {
      {"neighbours",
       {{"method", {"linear", "teacher", "logit_adjusted"}},
        {"rule", "the surest mistakes"},
        {"neighbours", 2},
        {"images",
         {{{"why", "mistake"},
           {"id", 1},
           {"image", "test/1.png"},
           {"label", "oak"},
           {"answer", "elm"},
           {"probability", 0.9696},
           {"neighbours", neighbours}}}}}},
      {"labels",
       {{"rule", "the twenty nearest"},
        {"embedder", "teacher"},
        {"neighbours", 20},
        {"examined", 808},
        {"of", 808},
        {"classes_too_small", 1},
        {"right_without_itself", 0.7676},
        {"suspected", 23},
        {"pairs", {{{"label", "elm"}, {"suggested", "oak"}, {"images", 21}}}},
        {"images",
         {{{"id", 5},
           {"image", "train/5.png"},
           {"label", "elm"},
           {"suggested", "oak"},
           {"share_of_label", 0.0505},
           {"share_of_suggested", 0.9494},
           {"neighbours", neighbours}}}}}},
      {"pictures",
       {{"grid", {2, 2}},
        {"explained", {0.5151, 0.2525, 0.1212}},
        {"images",
         {{{"id", 1},
           {"files", {{"input", "features_1_input.png"}, {"pca", "features_1_pca.png"}, {"heads", {"features_1_head_0.png"}}}},
           {"norms", {{"min", 1.1313}, {"median", 2.2424}, {"max", 3.3535}, {"above_4_medians", 0.0}}},
           {"attention", {{"share_of_patches_with_60_percent", 0.2727}, {"largest_of_a_patch", 0.3737}}}}}}}}};
  results["feature_health"] = {
      {{"name", "teacher"},
       {"images", 808},
       {"dim", 192},
       {"effective_rank", 47.47},
       {"deviation", 0.6767},
       {"deviation_quantiles", {0.1717, 0.2727, 0.6868, 0.9393, 1.1919}},
       {"dead_dimensions", 0.0156},
       {"mean_cosine", 0.4141},
       {"uniformity", -1.7171},
       {"alignment", nullptr},
       {"distance", 1.1717},
       {"undefined", {{"alignment", "no two of a class"}}},
       {"spectrum", {{{"component", 1}, {"share", 0.3131}, {"up_to", 0.3131}}, {{"component", 2}, {"share", 0.2}, {"up_to", 0.5131}}}}}};
  for (const char* step : {"knn", "few", "linear", "zero", "linseg"}) results["suites"][step]["protocol"] = images;
  results["suites"]["knn"]["protocol"].update({{"k", {10, 20}}, {"headline_k", 20}});
  return results;
}

}  // namespace dinoxx::report
