#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report/page/chart.hpp"
#include "report/page/html.hpp"

/// results.json as a report reads it: what is there is shown, what is not there is null.
namespace dinoxx::report {

/// The value at a path of names; null when any of them is not there.
const nlohmann::json& at(const nlohmann::json& object, std::initializer_list<const char*> path);
/// The elements of an array, none for anything else.
const nlohmann::json& elements(const nlohmann::json& value);

/// Why object[key] is null: what results.json says, or that it was not written.
std::string why_undefined(const nlohmann::json& object, const char* key);

/// object[key] as a share in percent, with the interval [low, high] when given.
Cell share(const nlohmann::json& object, const char* key);
Cell share(const nlohmann::json& object, const char* key, const nlohmann::json& interval);
/// A score with its bootstrap interval, or with the reason why it has none.
Cell bootstrapped(const nlohmann::json& scores, const char* key);
/// object[key] as it is.
Cell plain(const nlohmann::json& object, const char* key, int digits = 3);
Cell count(const nlohmann::json& object, const char* key);
/// " [81.50, 90.50]" or nothing.
std::string interval_text(const nlohmann::json& interval);
/// "81.50 %" with its interval.
std::string share_text(const nlohmann::json& value, const nlohmann::json& interval);
/// Any value in words.
Html value_text(const nlohmann::json& value);

/// "logistic regression, logit-adjusted" for the method "logit_adjusted" of the protocol with the key "linear"; unknown names as they are.
std::string method_name(const std::string& protocol, const std::string& method);
/// "checkpoint" for the first embedder, "untrained network", "raw pixels".
std::string features_name(const std::string& embedder);

/// Rows of a table of classes, those of most training images first; equal: as they are.
std::vector<const nlohmann::json*> by_training_images(const nlohmann::json& classes);

/// A method's answers to all test images.
struct Method {
  std::string protocol, embedder, method;  ///< protocol: its key (results/protocol_names.hpp)
  const nlohmann::json* scores;
  std::string name() const;  ///< in words
};

/// results.json read once for all sections.
class Results {
 public:
  explicit Results(nlohmann::json results);
  Results(const Results&) = delete;
  Results& operator=(const Results&) = delete;
  const nlohmann::json& all() const { return results_; }
  const std::vector<Method>& methods() const { return methods_; }
  const std::string& checkpoint() const { return checkpoint_; }  ///< name of the first embedder
  /// The method that the verdict speaks of, chosen by a fixed order and never by its score; nullptr when none of that order
  /// was run.
  const Method* chosen() const { return chosen_; }
  const Method* find(const std::string& protocol, const std::string& embedder, const std::string& method) const;
  /// Keys of the protocols that were run, in the order in which they are shown.
  const std::vector<std::string>& protocols() const { return protocols_; }

 private:
  nlohmann::json results_;
  std::vector<Method> methods_;
  std::vector<std::string> protocols_;
  std::string checkpoint_;
  const Method* chosen_ = nullptr;
};

/// The protocols and what they are.
struct KnownProtocol {
  const char* key;
  const char* what;
};
const std::vector<KnownProtocol>& known_protocols();
/// "linear_probe: ..." for the key "sweep".
std::string protocol_title(const std::string& key);
/// The order in which chosen() looks.
const std::vector<std::pair<std::string, std::string>>& order_of_choice();

}  // namespace dinoxx::report
