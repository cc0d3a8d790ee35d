#include "prototype_loss.hpp"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "loss/gpu/prototype_cuda.hpp"

namespace dinoxx::loss_common {
namespace {

// d loss / d rows and d loss / d prototypes, part by part. The prototypes' is a sum over parts, in float32 at least.
class FactorGradients {
 public:
  explicit FactorGradients(const Scores& student) : rows_type_(student.scalar_type()), prototypes_(student.prototypes()) {
    rows = at::empty_like(student.rows(), at::MemoryFormat::Contiguous);
    prototypes = at::zeros(prototypes_.sizes(), prototypes_.options().dtype(wide_type(prototypes_)));
  }
  void add(int64_t dim, const PrototypePart& part, const at::Tensor& part_rows, double scale) {
    const at::Tensor grad = part.grad.flatten(0, -2);
    rows.narrow(dim, part.begin, part.count).copy_(grad.mm(prototypes_).mul_(scale).view(part_rows.sizes()));
    const at::Tensor flat = part_rows.flatten(0, -2);
    if (prototypes.scalar_type() == flat.scalar_type())
      prototypes.addmm_(grad.t(), flat, 1, scale);
    else
      prototypes.add_(grad.t().mm(flat), scale);
  }
  void finish() { prototypes = prototypes.to(rows_type_); }

  at::Tensor rows, prototypes;

 private:
  at::ScalarType rows_type_;
  at::Tensor prototypes_;
};

void add_to(LossAndFigures& sum, const LossAndFigures& part, double share) {
  if (share == 1) {
    sum = part;
    return;
  }
  const at::Tensor loss = part.loss * share, figures = part.figures * share;
  sum.loss = sum.loss.defined() ? sum.loss + loss : loss;
  sum.figures = sum.figures.defined() ? sum.figures + figures : figures;
}

void sum_over(Communicator& ranks, LossAndFigures& result) {
  const at::Tensor all = at::cat({result.figures, result.loss.to(at::kDouble).view({1})});
  ranks.all_reduce(all, ReduceOp::kSum)->wait();
  result.figures = all.narrow(0, 0, result.figures.numel());
  result.loss = all[result.figures.numel()].to(result.loss.scalar_type());
}

/// Forward computes the gradient as well, while the logits are there; backward scales it.
class PrototypeLoss : public torch::autograd::Function<PrototypeLoss> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& rows, const at::Tensor& prototypes,
                            const Scores& student, const Scores& teacher, int64_t dim, const LossOfPart& loss, at::Tensor* figures) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const bool factored = student.prototypes().defined(), wanted = rows.requires_grad() || prototypes.requires_grad();
    // logits that are there have one gradient, and so one part
    const int64_t all = rows.size(dim), at_once = student.indices_at_once(dim),
                  step = factored ? std::min(at_once, teacher.indices_at_once(dim)) : at_once;
    std::optional<FactorGradients> factors;
    if (wanted && factored) factors.emplace(student);
    at::Tensor of_logits;
    LossAndFigures sum;
    for (int64_t begin = 0; begin == 0 || begin < all; begin += step) {
      PrototypePart part;
      part.begin = begin;
      part.count = std::min(step, all - begin);
      part.student = student.part(dim, begin, part.count);
      part.teacher = teacher.part(dim, begin, part.count);
      part.shards = student.shards();
      if (wanted) part.grad = at::empty_like(part.student, at::MemoryFormat::Contiguous);
      const double share = part.count == all ? 1.0 : static_cast<double>(part.count) / static_cast<double>(all);
      add_to(sum, loss(part), share);
      // of columns: every rank's own loss sends a gradient to them, and this is their mean
      const double senders = part.shards ? part.shards->ranks->size() : 1;
      if (factors) factors->add(dim, part, student.rows().narrow(dim, begin, part.count).contiguous(), share * senders);
      if (wanted && !factors) of_logits = part.grad;  // logits that are there come in one part
    }
    if (student.shards()) sum_over(*student.shards()->ranks, sum);
    if (factors) factors->finish();
    if (wanted) ctx->save_for_backward(factors ? std::vector<at::Tensor>{factors->rows, factors->prototypes} : std::vector{of_logits});
    *figures = sum.figures;
    return sum.loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    torch::autograd::variable_list results(7);
    const torch::autograd::variable_list saved = ctx->get_saved_variables();
    for (size_t i = 0; i < saved.size(); ++i) results[i] = loss_cuda::scaled(saved[i], grads[0]);
    return results;
  }
};

}  // namespace

LossAndFigures prototype_loss(const Scores& student, const Scores& teacher, int64_t dim, const LossOfPart& loss) {
  LossAndFigures result;
  // autograd takes no tensor that is not there
  const at::Tensor prototypes = student.prototypes().defined() ? student.prototypes() : at::empty({0}, student.rows().options());
  result.loss = PrototypeLoss::apply(student.rows(), prototypes, student, teacher, dim, loss, &result.figures);
  return result;
}

at::Tensor log_softmax(const at::Tensor& logits, const PrototypeShards* shards) {
  if (!shards) return at::log_softmax(logits, -1);
  const at::Tensor mine = at::logsumexp(logits, at::IntArrayRef{-1}, /*keepdim=*/true).contiguous();
  at::Tensor all = at::empty({shards->ranks->size(), mine.numel()}, mine.options());
  if (mine.numel() > 0) shards->ranks->all_gather(all, mine)->wait();
  return logits - at::logsumexp(all, at::IntArrayRef{0}).view(mine.sizes());
}

}  // namespace dinoxx::loss_common
