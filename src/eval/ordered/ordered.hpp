#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/statistics/resampling.hpp"

/// Classes that have an order: grades, stages, sizes. A wrong answer next to the right one is less wrong than one far from it.
namespace dinoxx::eval {

/// Rank of each class, 0 the lowest. `order`: "numbers" (each name is a number or ends in one: "3", "-1.5", "grade 3"), or all names from
/// the lowest to the highest with commas between. UsageError (about --ordered): a name without a number, two of the same, an unknown name,
/// a name that is missing or stands twice, fewer than three classes.
std::vector<int32_t> class_ranks(const std::vector<std::string>& names, const std::string& order);

inline constexpr int kOrderedScores = 4;
inline constexpr std::array<const char*, kOrderedScores> kOrderedNames{"quadratic_kappa", "mean_absolute_error",
                                                                       "class_mean_absolute_error", "within_one"};
/// kOrderedNames of answers that count `counts` times (empty: once): Cohen's kappa with quadratic weights (Cohen 1968), mean distance in
/// ranks, its mean over the classes that have images (Baccianella et al. 2009: on uneven classes the plain mean hardly sees the rare ones),
/// and the share of answers at most one rank off. NaN: kappa where labels and answers are all one class.
std::array<double, kOrderedScores> ordered_scores(std::span<const int32_t> labels, std::span<const int32_t> answers,
                                                  std::span<const int32_t> ranks, std::span<const uint32_t> counts = {});

/// Writes "ordered" into each of `scores`: kOrderedNames with "bootstrap95", the same resamples for all. Collective.
void add_ordered_scores(const Resampler& resampler, std::span<const int32_t> labels, std::span<const int32_t> ranks,
                        std::span<const std::vector<int32_t>* const> predictions, std::span<nlohmann::json* const> scores, int threads,
                        Communicator& comm);

/// For the terminal: a line for each method. "" without.
std::string ordered_table(const nlohmann::json& results);

}  // namespace dinoxx::eval
