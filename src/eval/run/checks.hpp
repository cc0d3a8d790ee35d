#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval_data.hpp"
#include "protocols.hpp"

/// Leaks and other causes of scores that are too good. Checked before anything is scored.
namespace dinoxx::eval {

/// Cosine, after the mean feature of the memory is taken off, from which two images count as nearly identical. A convention, and what it
/// finds depends on the features: the protocol clustering measures which share of distorted copies of test images reaches it
/// (copies.distortions.*.near_identical).
inline constexpr double kNearIdentical = 0.98;

/// Test images a class (mean of the classes that have any) below which a score of theirs is no headline: one image more or less moves it by
/// more than three points.
inline constexpr double kFewTestImages = 30;

/// Of the metadata, between memory and queries and, where there is a validation split, between it and both: identical images (equal
/// content_id) and groups on both sides ("identical", "groups"; with "_validation" for memory and validation, "_validation_queries" for
/// validation and queries). Of memory and queries also the distance of the class shares (total variation: half the sum of absolute
/// differences) and the classes that one side lacks. "test_size" = {images, classes, per_class, few}. Fills "warnings" with what a person
/// has to know. Time is linear in the images.
nlohmann::json check_splits(const Dataset& dataset, const EvalData& data);

/// Rows (indices into `ids`) that a search among `numbers` numbers looks at: as many as 10^13 multiplications allow, chosen by (seed, id).
std::vector<int64_t> rows_within_limit(const std::vector<uint64_t>& ids, int64_t numbers, uint64_t seed);
/// For each row of `queries` the cosine and the row of its nearest one in `memory`, both of unit length. [queries, 2] float64, on every
/// rank. Collective.
at::Tensor nearest_images(const at::Tensor& queries, const at::Tensor& memory, int threads, Communicator& comm);

/// Of the features of one embedder: queries whose nearest memory image has cosine >= kNearIdentical, the median of these cosines, and the
/// most similar pairs; under "validation" and "validation_queries" the same for these pairs of splits, when the features of validation are
/// there. Of very large sets only as many queries as 10^13 multiplications allow are looked at, chosen by (seed, id): "looked_at".
/// Collective.
nlohmann::json check_near_identical(const ProtocolInput& input);

/// Median cosine of nearest images below which features tell ordinary images apart well enough for kNearIdentical to mean something: the
/// squared distance of such a pair is 2 (1 - cosine), so an ordinary nearest image is then more than five times as far as the limit.
inline constexpr double kTellsApart = 0.9;

/// Of `checks` with "near_identical" in it: adds to its "warnings" what was found with features that tell images apart, and to
/// near_identical.notes what was found with others.
void judge_near_identical(nlohmann::json& checks);

}  // namespace dinoxx::eval
