// Losses over prototypes whose logits are made for some rows at a time, and whose columns are spread over ranks: beside the losses of whole
// logits.
#include "dinoxx/loss/scores.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "comm/gather.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/loss/centre.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "golden.hpp"
#include "loss/monitors.hpp"
#include "ops/ops.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using golden::near;
using golden::uniform;

constexpr int64_t kViews = 4, kGlobals = 2, kBatch = 6, kWidth = 8, kPrototypes = 48, kPatches = 13;

// What stands in front of the prototypes, of all images, and the prototypes.
struct Factors {
  explicit Factors(at::ScalarType type)
      : views(leaf("views", {kViews, kBatch, kWidth}, type)),
        patches(leaf("patches", {kPatches, kWidth}, type)),
        prototypes(leaf("prototypes", {kPrototypes, kWidth}, type)),
        teacher_views(uniform("teacher views", {kGlobals, kBatch, kWidth}).to(type)),
        teacher_patches(uniform("teacher patches", {kPatches, kWidth}).to(type)),
        teacher_prototypes(uniform("teacher prototypes", {kPrototypes, kWidth}).to(type)),
        weight(uniform("weight", {kPatches}).add_(1.5)),
        wide(type == at::kDouble ? at::kDouble : at::kFloat) {}
  static at::Tensor leaf(const std::string& name, at::IntArrayRef shape, at::ScalarType type) {
    return uniform(name, shape).to(type).set_requires_grad(true);
  }
  at::Tensor views, patches, prototypes, teacher_views, teacher_patches, teacher_prototypes, weight;
  at::ScalarType wide;
};

// Everything that a step asks of scores.
struct Answers {
  at::Tensor loss, figures, patch_loss, patch_figures, centre, sinkhorn, sum, groups;  // of columns: this rank's of the last four
  PrototypeUsage usage;
};

struct AllScores {
  Scores views, patches, teacher_views, teacher_patches;
};

Answers answers(const AllScores& s, const Factors& f, const at::Tensor& weight, const at::Tensor& slots, double crops,
                const at::Tensor& centre) {
  const auto self = make_self_communicator();
  Answers a;
  a.sinkhorn = sinkhorn_centre(s.teacher_views.flatten(), 0.07, 3, *self);
  const DinoLossResult views = dino_loss(s.views, s.teacher_views, a.sinkhorn, 0.1, 0.05, 0.7);
  a.loss = views.loss;
  a.figures = views.figures;
  a.sum = views.teacher_sum;
  const PatchLossResult patches = patch_loss(s.patches, s.teacher_patches, centre, weight, 0.1, 0.06, crops);
  a.patch_loss = patches.loss;
  a.patch_figures = patches.figures;
  a.groups = centre_sum_by_group(s.teacher_patches, slots, 2).sum;
  a.usage = prototype_usage(s.teacher_views, centre, 0.05);
  return a;
}

at::Tensor slots_of(int64_t rows) {
  return at::arange(rows, at::kLong).remainder(kBatch);
}

at::Tensor running_centre(at::ScalarType wide) {
  return (uniform("centre", {kPrototypes}) * 0.2).to(wide);
}

AllScores whole(const Factors& f) {
  return {f.views.matmul(f.prototypes.t()), f.patches.matmul(f.prototypes.t()), f.teacher_views.matmul(f.teacher_prototypes.t()),
          f.teacher_patches.matmul(f.teacher_prototypes.t())};
}

std::vector<at::Tensor> gradients(const Factors& f, const Answers& a) {
  (a.loss * 1.5 + a.patch_loss).backward();
  return {f.views.grad(), f.patches.grad(), f.prototypes.grad()};
}

void expect_near(const char* what, const at::Tensor& found, const at::Tensor& expected, double bound) {
  ASSERT_TRUE(found.defined() && expected.defined()) << what;
  EXPECT_TRUE(near(what, found.to(at::kDouble), expected.to(at::kDouble), bound));
}

TEST(Scores, PartsAreTheWhole) {
  for (const auto& [type, bound] : {std::pair{at::kDouble, 1e-12}, {at::kFloat, 2e-5}, {at::kBFloat16, 3e-2}}) {
    for (const bool fused : {true, false}) {
      ops::set_fused(fused);
      const Factors expected(type);
      const at::Tensor centre = running_centre(expected.wide);
      const Answers all = answers(whole(expected), expected, expected.weight, slots_of(kPatches), 7, centre);
      const std::vector<at::Tensor> of_all = gradients(expected, all);
      for (const int64_t rows : {0, 1, 5, 9, 1000}) {
        SCOPED_TRACE(fmt::format("{}, fused {}, {} rows at once", c10::toString(type), fused, rows));
        const Factors f(type);
        const AllScores parts{{f.views, f.prototypes, rows},
                              {f.patches, f.prototypes, rows},
                              {f.teacher_views, f.teacher_prototypes, rows},
                              {f.teacher_patches, f.teacher_prototypes, rows}};
        const Answers found = answers(parts, f, f.weight, slots_of(kPatches), 7, centre);
        expect_near("loss", found.loss, all.loss, bound);
        expect_near("figures", found.figures, all.figures, bound);
        expect_near("patch loss", found.patch_loss, all.patch_loss, bound);
        expect_near("patch figures", found.patch_figures, all.patch_figures, bound);
        expect_near("Sinkhorn-Knopp", found.sinkhorn, all.sinkhorn, bound);
        expect_near("sum", found.sum, all.sum, bound);
        expect_near("sum by group", found.groups, all.groups, bound);
        EXPECT_NEAR(found.usage.perplexity, all.usage.perplexity, bound * all.usage.perplexity);
        EXPECT_NEAR(found.usage.used, all.usage.used, type == at::kBFloat16 ? 0.1 : 0);
        const std::vector<at::Tensor> of_parts = gradients(f, found);
        for (size_t i = 0; i < of_all.size(); ++i)
          expect_near("gradient", of_parts[i], of_all[i], bound * (1 + of_all[i].abs().max().item<double>()));
      }
    }
  }
  ops::set_fused(true);
}

// Logits that are there beside a teacher's in parts: their gradient is whole.
TEST(Scores, AStudentsLogitsBesideATeachersParts) {
  const at::Tensor target = uniform("target", {kPatches, kWidth}), prototypes = uniform("prototypes", {kPrototypes, kWidth});
  const auto gradient = [&](const Scores& teacher) {
    const at::Tensor student = uniform("student", {kPatches, kPrototypes}).set_requires_grad(true);
    patch_loss(student, teacher, running_centre(at::kDouble), at::ones({kPatches}, at::kDouble), 0.1, 0.05, 3).loss.backward();
    return student.grad();
  };
  expect_near("gradient", gradient({target, prototypes, 2}), gradient(target.matmul(prototypes.t())), 1e-12);
}

// So many rows are made at once and no more: the largest part that the loss sees.
TEST(Scores, RowsAtOnce) {
  const at::Tensor rows = at::zeros({kViews, kBatch, kWidth}), prototypes = at::zeros({kPrototypes, kWidth});
  const auto at_once = [&](int64_t n) { return Scores(rows, prototypes, n).indices_at_once(1); };
  EXPECT_EQ(at_once(0), kBatch);
  EXPECT_EQ(at_once(1), 1) << "one image at least, of all its views";
  EXPECT_EQ(at_once(2 * kViews + 1), 2);
  EXPECT_EQ(at_once(1000), kBatch);
  EXPECT_EQ(Scores(at::zeros({kViews, kBatch, kPrototypes})).indices_at_once(1), kBatch);
  EXPECT_EQ(Scores(rows, prototypes, 5).part(1, 2, 2).sizes(), at::IntArrayRef({kViews, 2, kPrototypes}));
  EXPECT_EQ(Scores(rows, prototypes, 5).flatten().sizes(), (std::vector<int64_t>{kViews * kBatch, kPrototypes}));
  EXPECT_EQ(Scores(rows.flatten(0, 1).narrow(0, 0, 0), prototypes, 5).indices_at_once(0), 1);
}

TEST(Scores, NoRows) {
  const at::Tensor none = at::zeros({0, kWidth}).set_requires_grad(true),
                   prototypes = at::zeros({kPrototypes, kWidth}).set_requires_grad(true);
  const Scores scores(none, prototypes, 4);
  const PatchLossResult r = patch_loss(scores, scores, at::zeros({kPrototypes}), at::zeros({0}), 0.1, 0.05, 3);
  EXPECT_EQ(r.loss.item<double>(), 0);
  r.loss.backward();
  EXPECT_EQ(prototypes.grad().abs().max().item<double>(), 0);
  EXPECT_EQ(centre_sum_by_group(scores, at::zeros({0}, at::kLong), 2).rows, 0);
}

// Ranks that have columns of the rows of all: every rank's mean loss is that of all images, and gradients are sums over the ranks' own
// losses, as the average over ranks expects them.
TEST(Scores, ColumnsOverRanksAreTheWhole) {
  const Factors expected(at::kDouble);
  const at::Tensor centre = running_centre(at::kDouble);
  const Answers all = answers(whole(expected), expected, expected.weight, slots_of(kPatches), 7, centre);
  const std::vector<at::Tensor> of_all = gradients(expected, all);
  for (const int64_t rows_at_once : {0, 5}) {
    for (const int size : {1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{} ranks, {} rows at once", size, rows_at_once));
      testing_support::run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& comm) {
        const auto self = make_self_communicator();
        const PrototypeShards shards{comm.get(), self.get()};
        const int64_t share = kBatch / size, first = comm->rank() * share, columns = kPrototypes / size, column = comm->rank() * columns;
        const Factors f(at::kDouble);
        // each rank's own images
        const at::Tensor views = f.views.detach().narrow(1, first, share).clone().set_requires_grad(true);
        const at::Tensor prototypes = f.prototypes.detach().narrow(0, column, columns).clone().set_requires_grad(true);
        const at::Tensor gathered = gather_rows(views.transpose(0, 1).contiguous(), *comm).transpose(0, 1);
        const at::Tensor target = f.teacher_prototypes.narrow(0, column, columns);
        const AllScores scores{{gathered, prototypes, rows_at_once, &shards},
                               {f.patches, prototypes, rows_at_once, &shards},
                               {f.teacher_views, target, rows_at_once, &shards},
                               {f.teacher_patches, target, rows_at_once, &shards}};
        const Answers found = answers(scores, f, f.weight, slots_of(kPatches), 7, centre.narrow(0, column, columns));
        expect_near("loss", found.loss, all.loss, 1e-12);
        expect_near("figures", found.figures, all.figures, 1e-12);
        expect_near("patch loss", found.patch_loss, all.patch_loss, 1e-12);
        expect_near("patch figures", found.patch_figures, all.patch_figures, 1e-12);
        expect_near("sum", found.sum, all.sum.narrow(0, column, columns), 1e-12);
        expect_near("sum by group", found.groups, all.groups.narrow(0, column, columns), 1e-12);
        const at::Tensor shift = found.sinkhorn - all.sinkhorn.narrow(0, column, columns);
        EXPECT_LE((shift - shift[0]).abs().max().item<double>(), 1e-12);
        EXPECT_NEAR(found.usage.perplexity, all.usage.perplexity, 1e-9);
        EXPECT_DOUBLE_EQ(found.usage.used, all.usage.used);
        (found.loss * 1.5 + found.patch_loss).backward();
        const double ranks = size;
        expect_near("views", views.grad() / ranks, of_all[0].narrow(1, first, share), 1e-12);
        expect_near("prototypes", prototypes.grad() / ranks, of_all[2].narrow(0, column, columns), 1e-12);
      });
    }
  }
}

}  // namespace
}  // namespace dinoxx
