#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

/// comparison.json ("dinoxx comparison", eval/several/compare_evaluations.hpp) as its pages read it.
namespace dinoxx::report {

class ComparisonView {
 public:
  explicit ComparisonView(const nlohmann::json& comparison) : all_(comparison) {}
  const nlohmann::json& all() const { return all_; }

  size_t size() const;               ///< checkpoints
  std::string name(size_t i) const;  ///< of a checkpoint
  std::vector<std::string> names() const;
  std::string network(size_t i) const;  ///< "ViT 384 x 12, patch 16"

  /// The method that the verdict speaks of, an element of "methods"; null where none was compared.
  const nlohmann::json& chosen() const;

  /// What the tests say of checkpoint `one` against `other` by a method.
  enum class Answer { kBetter, kWorse, kNone, kAccuracyAlone, kBalancedAlone, kOpposite };
  Answer answer(const nlohmann::json& method, size_t one, size_t other) const;
  /// The row of a pair; `forward`: `one` is its first. null where there is none.
  const nlohmann::json& pair(const nlohmann::json& rows, size_t one, size_t other, bool& forward) const;

 private:
  const nlohmann::json& all_;
};

/// "difference [low, high]" in points of a score of a pair, as seen from its first or, `forward` false, its second.
std::string difference_text(const nlohmann::json& score, bool forward);
/// A p value: "0.012", "< 0.0001"; "-" where there is none.
std::string p_text(const nlohmann::json& p);
/// What a figure is called: "few-shot, 8 images a class, SimpleShot".
std::string figure_name(const nlohmann::json& row);
/// "A, B and C".
std::string listed(const std::vector<std::string>& names);
/// Which of the pairs of a row of images (a class, or rare classes together) are told apart: "A above B (p 0.003)"; "none told apart".
std::string told_apart(const ComparisonView& view, const nlohmann::json& row);
/// What the times are of, and what they do not tell; sentences.
std::vector<std::string> cost_notes(const nlohmann::json& comparison);
/// Seconds as minutes.
std::string minutes(const nlohmann::json& seconds);

/// What a reader may conclude and what not, sentence by sentence; the first is the answer.
struct ComparisonVerdict {
  std::vector<std::string> answer, limits;
};
ComparisonVerdict comparison_verdict(const ComparisonView& view);

}  // namespace dinoxx::report
