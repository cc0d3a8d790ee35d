#pragma once
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/loss/byol_loss.hpp"
#include "dinoxx/loss/centre.hpp"
#include "dinoxx/loss/coding_rate.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/gram.hpp"
#include "dinoxx/loss/koleo.hpp"
#include "dinoxx/loss/nt_xent.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sigreg.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "golden.hpp"
#include "loss/guide.hpp"
#include "loss/mean_target.hpp"
#include "loss/monitors.hpp"
#include "loss/prototypes/swapped_prediction.hpp"
#include "loss/whole_batch/cross_correlation.hpp"
#include "loss/whole_batch/sketching.hpp"
#include "loss/whole_batch/variance_covariance.hpp"

/// The losses over ranks, for every back end, against what tests/golden/make_losses.py computed with the whole batch: with the losses' mean
/// over ranks and gradients averaged over ranks, as the step does, N ranks are one.
namespace dinoxx::golden {

constexpr int64_t kLossBatch = 12;  // of the fixtures: parts for 1, 2, 3 and 4 ranks

struct LossRanks {
  Communicator& comm;
  const Fixture& fixture;
  at::ScalarType dtype;
  double tolerance;

  int64_t local_batch() const { return kLossBatch / comm.size(); }
  int64_t first_slot() const { return comm.rank() * local_batch(); }

  /// This rank's slots along `dimension` of the whole batch `name`, as a leaf.
  at::Tensor leaf(const std::string& name, std::vector<int64_t> shape, int64_t dimension, double size = 1.0) const {
    const at::Tensor whole = uniform(name, shape) * size;
    return whole.narrow(dimension, first_slot(), local_batch()).contiguous().to(dtype).set_requires_grad(true);
  }
  at::Tensor part(const std::string& name, std::vector<int64_t> shape, int64_t dimension, double size = 1.0) const {
    return leaf(name, std::move(shape), dimension, size).detach();
  }

  at::Tensor mean_over_ranks(const at::Tensor& value) const {
    at::Tensor sum = value.detach().to(at::kDouble).reshape({1}).clone();
    comm.all_reduce(sum, ReduceOp::kSum)->wait();
    return sum / comm.size();
  }
  /// The parts of all ranks along `dimension`.
  at::Tensor whole(const at::Tensor& mine, int64_t dimension) const {
    const at::Tensor rows = mine.detach().transpose(0, dimension).contiguous();
    std::vector<int64_t> shape = rows.sizes().vec();
    shape[0] *= comm.size();
    at::Tensor all = at::empty(shape, rows.options());
    comm.all_gather(all, rows)->wait();
    return all.transpose(0, dimension);
  }

  /// Backward of this rank's loss, then value and gradient against <name>/loss and <name>/grad_<input>.
  void check(const std::string& name, const at::Tensor& loss, const std::string& input, const at::Tensor& leaf, int64_t dimension) const {
    SCOPED_TRACE(name);
    loss.backward();
    EXPECT_TRUE(fixture.matches(name + "/loss", mean_over_ranks(loss), tolerance));
    ASSERT_TRUE(leaf.grad().defined());
    EXPECT_TRUE(fixture.matches(name + "/grad_" + input, whole(leaf.grad() / comm.size(), dimension), tolerance));
  }
};

inline void check_sinkhorn(const LossRanks& ranks) {
  struct Case {
    const char* name;
    int64_t samples, prototypes;
    double temp, size;
    int iterations;
  };
  for (const Case& c : {Case{"sinkhorn", 11, 23, 0.05, 1.0, 3}, Case{"sinkhorn_sharp", 40, 16, 0.07, 6.0, 3},
                        Case{"sinkhorn_once", 7, 5, 0.1, 1.0, 1}, Case{"sinkhorn_long", 12, 21, 0.07, 1.0, 10}}) {
    SCOPED_TRACE(c.name);
    const at::Tensor logits = (uniform(std::string(c.name) + "/logits", {c.samples, c.prototypes}) * c.size).to(ranks.dtype);
    // uneven parts, an empty one among them
    const int64_t n = ranks.comm.size(), r = ranks.comm.rank();
    const int64_t begin = c.samples * r * r / (n * n), end = c.samples * (r + 1) * (r + 1) / (n * n);
    const at::Tensor centre = sinkhorn_centre(logits.narrow(0, begin, end - begin), c.temp, c.iterations, ranks.comm);
    const at::Tensor assignment = at::softmax((logits.to(at::kDouble) - centre.to(at::kDouble)) / c.temp, -1);
    EXPECT_TRUE(ranks.fixture.matches(std::string(c.name) + "/assignment", assignment, ranks.tolerance));
  }
}

inline void check_dino(const LossRanks& ranks) {
  struct Case {
    const char* name;
    int64_t locals;
    double factor;
  };
  constexpr int64_t kDim = 37;
  for (const Case& c : {Case{"dino_v2", 3, 1.0}, Case{"dino_v3", 4, 0.5}, Case{"dino_globals", 0, 0.5}}) {
    const std::string name = c.name;
    const at::Tensor student = ranks.leaf(name + "/student", {2 + c.locals, kLossBatch, kDim}, 1);
    const at::Tensor teacher = ranks.part(name + "/teacher", {2, kLossBatch, kDim}, 1);
    const at::Tensor centre = sinkhorn_centre(teacher.view({-1, kDim}), 0.05, 3, ranks.comm);
    ranks.check(name, dino_loss(student, teacher, centre, 0.1, 0.05, c.factor).loss, "student", student, 1);
  }
}

/// The masks of make_losses.py; the rows of a rank's masked patches.
struct PatchCase {
  static constexpr int64_t kPatches = 8, kDim = 21;
  explicit PatchCase(const LossRanks& ranks) : first(ranks.first_slot()), crops(ranks.local_batch()) {
    constexpr int64_t kCounts[kLossBatch] = {3, 0, 5, 1, 2, 4, 0, 0, 0, 8, 1, 3};
    std::vector<int64_t> index, slots;
    std::vector<double> weights;
    for (int64_t c = 0; c < crops; ++c) {
      for (int64_t i = 0; i < kCounts[first + c]; ++i) {
        index.push_back(c * kPatches + i);
        slots.push_back(c);
        weights.push_back(1.0 / static_cast<double>(kCounts[first + c]));
      }
    }
    rows = at::tensor(index, at::kLong);
    slot = at::tensor(slots, at::kLong);
    weight = at::tensor(weights, at::kDouble).to(ranks.dtype);
  }
  at::Tensor masked(const at::Tensor& tokens) const { return tokens.flatten(0, 1).index_select(0, rows); }
  int64_t first, crops;
  at::Tensor rows, slot, weight;
};

inline void check_patches(const LossRanks& ranks) {
  const PatchCase c(ranks);
  const std::vector<int64_t> shape{kLossBatch, PatchCase::kPatches, PatchCase::kDim};
  const at::Tensor teacher = c.masked(ranks.part("patch/teacher", shape, 0));
  const at::Tensor running = (uniform("patch/centre", {PatchCase::kDim}) * 0.3).to(ranks.dtype);
  const at::Tensor balanced = sinkhorn_centre(teacher, 0.06, 3, ranks.comm);
  for (const auto& [name, centre] :
       {std::pair<const char*, at::Tensor>{"patch", running}, {"patch_ibot", running}, {"patch_sinkhorn", balanced}}) {
    const at::Tensor student = ranks.leaf("patch/student", shape, 0);
    const at::Tensor loss = patch_loss(c.masked(student), teacher, centre, c.weight, 0.1, 0.06, static_cast<double>(c.crops)).loss;
    ranks.check(name, loss, "student", student, 0);
  }

  const at::Tensor agreeing = ranks.leaf("patch_agreement/student", {kLossBatch, PatchCase::kPatches, 5}, 0);
  const at::Tensor with = ranks.part("patch_agreement/teacher", {kLossBatch, PatchCase::kPatches, 5}, 0);
  ranks.check("patch_agreement", patch_agreement(c.masked(agreeing), c.masked(with), c.weight, c.crops), "student", agreeing, 0);

  if (c.crops % 3 != 0) return;  // the stored centre is that of groups of three slots
  Centre centre(PatchCase::kDim, 0.9, ranks.dtype);
  for (int step = 0; step < 2; ++step) {
    CentreSum mine = centre_sum_by_group(c.masked(ranks.part(fmt::format("patch_centre/teacher{}", step), shape, 0)), c.slot, 3);
    at::Tensor groups = at::full({1}, mine.rows, at::kLong);
    ranks.comm.all_reduce(mine.sum, ReduceOp::kSum)->wait();
    ranks.comm.all_reduce(groups, ReduceOp::kSum)->wait();
    centre.update(mine.sum, groups.item<int64_t>());
    EXPECT_TRUE(ranks.fixture.matches(fmt::format("patch_centre/value{}", step), centre.value(), ranks.tolerance));
  }
}

inline void check_koleo_over_ranks(const LossRanks& ranks) {
  struct Case {
    const char* name;
    int64_t group, neighbours;
  };
  for (const Case& c : {Case{"koleo", 12, 1}, Case{"koleo", 0, 1}, Case{"koleo_groups", 4, 1}, Case{"koleo_top", 12, 3},
                        Case{"koleo_pairs", 2, 1}, Case{"koleo_groups_top", 6, 2}}) {
    SCOPED_TRACE(fmt::format("groups of {}", c.group));
    const int64_t batch = ranks.local_batch(), group = c.group == 0 ? kLossBatch : c.group;
    if (batch % group != 0 && group % batch != 0) {
      EXPECT_THROW(koleo_loss(ranks.part("koleo/features", {kLossBatch, 11}, 0), c.group, c.neighbours, &ranks.comm), std::exception);
      continue;
    }
    const at::Tensor features = ranks.leaf("koleo/features", {kLossBatch, 11}, 0, 3.0);
    ranks.check(c.name, koleo_loss(features, c.group, c.neighbours, &ranks.comm), "features", features, 0);
  }
}

inline void check_gram_over_ranks(const LossRanks& ranks) {
  const std::vector<int64_t> shape{kLossBatch, 6, 4};
  const at::Tensor teacher = ranks.part("gram/teacher", shape, 0);
  const at::Tensor mask = uniform("gram/mask", {shape[0], shape[1]}).narrow(0, ranks.first_slot(), ranks.local_batch()) < -0.1;
  struct Case {
    const char* name;
    int64_t group;
    GramTokens tokens;
  };
  for (const Case& c : {Case{"gram_image", 0, GramTokens::kAll}, Case{"gram_batch", kLossBatch, GramTokens::kAll},
                        Case{"gram_pairs_masked", 2, GramTokens::kMasked}, Case{"gram_pairs_unmasked", 2, GramTokens::kUnmasked},
                        Case{"gram_threes_masked", 3, GramTokens::kMasked}}) {
    for (const auto& [negatives, word] : {std::pair{GramNegatives::kKeep, "keep"}, std::pair{GramNegatives::kRemoveBoth, "both"},
                                          std::pair{GramNegatives::kRemoveTeacher, "teacher"}}) {
      const at::Tensor student = ranks.leaf("gram/student", shape, 0);
      const auto loss = [&] { return gram_loss(student, teacher, {c.group, negatives, c.tokens}, mask); };
      if (c.group > 0 && ranks.local_batch() % c.group != 0) {  // a matrix never spans ranks
        EXPECT_THROW(loss(), std::exception) << c.name;
        continue;
      }
      ranks.check(fmt::format("{}_{}", c.name, word), loss(), "student", student, 0);
    }
  }
}

inline void check_mean_targets_over_ranks(const LossRanks& ranks) {
  for (const auto& [name, views] : {std::pair{"mean_target_two", 2}, std::pair{"mean_target_four", 4}}) {
    const at::Tensor prediction = ranks.leaf(std::string(name) + "/prediction", {views, kLossBatch, 6}, 1);
    const at::Tensor projection = ranks.part(std::string(name) + "/projection", {views, kLossBatch, 6}, 1);
    ranks.check(name, mean_target_loss(prediction, projection), "prediction", prediction, 1);
  }
}

inline void check_byol_over_ranks(const LossRanks& ranks) {
  for (const auto& [name, views] : {std::pair{"byol", 2}, std::pair{"byol_crops", 4}}) {
    const at::Tensor prediction = ranks.leaf(std::string(name) + "/prediction", {views, kLossBatch, 6}, 1);
    const at::Tensor target = ranks.part(std::string(name) + "/target", {2, kLossBatch, 6}, 1);
    ranks.check(name, byol_loss(prediction, target), "prediction", prediction, 1);
  }
}

inline void check_nt_xent_over_ranks(const LossRanks& ranks) {
  const at::Tensor z = ranks.leaf("nt_xent/z", {2, kLossBatch, 6}, 1);
  ranks.check("nt_xent", nt_xent(z, 0.2, ranks.comm), "z", z, 1);
}

inline void check_losses_without_prototypes(const LossRanks& ranks) {
  const auto rate = [&](const std::string& name, int64_t views, int64_t dim, double eps) {
    const at::Tensor z = ranks.leaf(name + "/z", {views, kLossBatch, dim}, 1);
    ranks.check(name, coding_rate(z, eps, ranks.comm), "z", z, 1);
  };
  rate("coding_rate_narrow", 2, 5, 0.5);
  rate("coding_rate_wide", 3, 17, 0.05);
  const auto agreement = [&](const std::string& name, int64_t views, int64_t targets) {
    const at::Tensor student = ranks.leaf(name + "/student", {views, kLossBatch, 6}, 1);
    ranks.check(name, view_agreement(student, ranks.part(name + "/teacher", {targets, kLossBatch, 6}, 1)), "student", student, 1);
  };
  agreement("agreement", 2, 2);
  agreement("agreement_crops", 5, 2);
  agreement("agreement_one", 3, 1);
  const at::Tensor alike = ranks.leaf("agreement_mean/z", {5, kLossBatch, 6}, 1);
  ranks.check("agreement_mean", agreement_with_mean(alike), "z", alike, 1);
  const at::Tensor spread = ranks.leaf("sketching/z", {3, kLossBatch, 6}, 1, 1.7), along = uniform("sketching/directions", {6, 9});
  const Sketching parts = sketching(spread, along / at::linalg_vector_norm(along, 2, 0, true), ranks.comm);
  ranks.check("sketching", parts.centre + 2.0 * parts.scale + 3.0 * parts.shape, "z", spread, 1);
  const at::Tensor z = ranks.leaf("sigreg/z", {3, kLossBatch, 6}, 1), directions = uniform("sigreg/directions", {6, 9});
  ranks.check("sigreg", sigreg(z, directions / at::linalg_vector_norm(directions, 2, 0, true), ranks.comm), "z", z, 1);
}

// Images whose label is not known are spread unevenly over the ranks.
inline void check_guides(const LossRanks& ranks) {
  const at::Tensor classes =
      at::tensor({2, -1, 0, 1, -1, 2, 2, 0, -1, 1, 3, 0}, at::kLong).narrow(0, ranks.first_slot(), ranks.local_batch());
  at::Tensor numbers = ranks.part("guide/numbers", {kLossBatch}, 0).clone();
  for (int64_t i = 0; i < numbers.size(0); ++i)
    if ((ranks.first_slot() + i) % 4 == 1) numbers[i] = std::nan("");
  for (const auto& [name, targets] : {std::pair{"distance_correlation_classes", classes}, {"distance_correlation_numbers", numbers}}) {
    const at::Tensor features = ranks.leaf("guide/features", {2, kLossBatch, 5}, 1);
    ranks.check(name, distance_correlation(features, targets, ranks.comm), "features", features, 1);
  }
  const auto check = [&](const std::string& name, const std::string& figure, int64_t outputs, const auto& loss_of) {
    const at::Tensor features = ranks.leaf("guide/features", {2, kLossBatch, 5}, 1);
    const at::Tensor weight = uniform("guide/weight", {4, 5}).to(ranks.dtype).set_requires_grad(true);
    const GuideLoss found = loss_of(features, [&](const at::Tensor& rows) { return at::linear(rows, weight.narrow(0, 0, outputs)); });
    ranks.check(name, found.loss, "features", features, 1);
    EXPECT_TRUE(ranks.fixture.matches(name + "/" + figure, ranks.mean_over_ranks(found.figure), ranks.tolerance));
    at::Tensor gradient = weight.grad().clone();
    ranks.comm.all_reduce(gradient, ReduceOp::kSum)->wait();
    EXPECT_TRUE(ranks.fixture.matches(name + "/grad_weight", gradient / ranks.comm.size(), ranks.tolerance));
  };
  for (const auto& [name, factor] : {std::pair{"learn", 0.7}, std::pair{"forget", -0.6}}) {
    check(std::string("guide_classes_") + name, "accuracy", 4, [&, factor = factor](const at::Tensor& features, const GuideHead& head) {
      return guide_classes(features, classes, head, factor, ranks.comm);
    });
    check(std::string("guide_numbers_") + name, "explained", 1, [&, factor = factor](const at::Tensor& features, const GuideHead& head) {
      return guide_numbers(features, numbers, head, factor, ranks.comm);
    });
  }
}

inline void check_decorrelation(const LossRanks& ranks) {
  for (const auto& [width, dim] : {std::pair{"narrow", 5}, std::pair{"wide", 17}}) {
    const auto leaf = [&](const std::string& name) { return ranks.leaf(name + "/z", {2, kLossBatch, dim}, 1, 1.7); };
    const std::string of_variances = fmt::format("variance_covariance_{}", width),
                      of_correlations = fmt::format("cross_correlation_{}", width);
    const at::Tensor z = leaf(of_variances), y = leaf(of_correlations);
    const VarianceCovariance v = variance_covariance(z, ranks.comm);
    ranks.check(of_variances, 2.0 * v.invariance + 25.0 * v.variance + v.covariance, "z", z, 1);
    const CrossCorrelation c = cross_correlation(y, ranks.comm);
    ranks.check(of_correlations, c.invariance + 0.3 * c.redundancy, "z", y, 1);
  }
}

inline void check_swapped_prediction(const LossRanks& ranks) {
  struct Case {
    const char* name;
    int64_t views, globals;
    int iterations;
  };
  for (const Case& c : {Case{"swapped", 4, 2, 3}, Case{"swapped_globals", 2, 2, 3}, Case{"swapped_one", 3, 1, 2}}) {
    const at::Tensor logits = ranks.leaf(std::string(c.name) + "/logits", {c.views, kLossBatch, 9}, 1);
    ranks.check(c.name, swapped_prediction(logits, c.globals, 0.1, 0.05, c.iterations, ranks.comm).loss, "logits", logits, 1);
  }
}

inline void check_usage_over_ranks(const LossRanks& ranks) {
  const int64_t n = ranks.comm.size(), r = ranks.comm.rank(), begin = 24 * r * r / (n * n), end = 24 * (r + 1) * (r + 1) / (n * n);
  const at::Tensor logits = (uniform("usage/logits", {24, 19}) * 2.0).to(ranks.dtype).narrow(0, begin, end - begin);
  const PrototypeUsage usage = prototype_usage(logits, (uniform("usage/centre", {19}) * 0.3).to(ranks.dtype), 0.05, &ranks.comm);
  EXPECT_TRUE(ranks.fixture.matches("usage", at::tensor({usage.used, usage.perplexity}, at::kDouble), ranks.tolerance));
  EXPECT_EQ(usage.rows, 24);
}

inline void check_losses_over_ranks(Communicator& comm, at::ScalarType dtype, double tolerance) {
  const Fixture fixture("losses");
  const LossRanks ranks{comm, fixture, dtype, tolerance};
  check_sinkhorn(ranks);
  check_dino(ranks);
  check_patches(ranks);
  check_koleo_over_ranks(ranks);
  check_gram_over_ranks(ranks);
  check_byol_over_ranks(ranks);
  check_mean_targets_over_ranks(ranks);
  check_nt_xent_over_ranks(ranks);
  check_losses_without_prototypes(ranks);
  check_decorrelation(ranks);
  check_guides(ranks);
  check_swapped_prediction(ranks);
  check_usage_over_ranks(ranks);
}

}  // namespace dinoxx::golden
