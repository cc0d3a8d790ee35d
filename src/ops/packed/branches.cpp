// Both residual branches of a block behind attention, as one autograd node.
#include "ops/fused.hpp"
#include "projection.hpp"
#include "residual.hpp"

namespace dinoxx::ops {
namespace {

struct BranchesPlan : torch::CustomClassHolder {
  PackedRows rows;
  PackedBranch first, second, next;
  double eps = 0;
  bool swiglu = false, training = false;
};

enum BranchesInput {
  kX,
  kProjWeight,
  kProjBias,
  kNormWeight,
  kNormBias,
  kUpWeight,
  kUpBias,
  kDownWeight,
  kDownBias,
  kNextWeight,
  kNextBias,
  kBranchesInputs
};

class PackedBranchesFunction : public torch::autograd::Function<PackedBranchesFunction> {
 public:
  /// `list`: the inputs that are there, then attention's output of each group, or of all what the projection made of it.
  static variable_list forward(AutogradContext* ctx, at::TensorList list, int64_t present, const c10::intrusive_ptr<BranchesPlan>& plan) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto in = expanded<kBranchesInputs>(list, present);
    const at::Tensor& x = in[kX];
    const c10::DeviceGuard guard(x.device());
    const bool projected = !in[kProjWeight].defined();
    const size_t groups = projected ? 1 : plan->rows.samples.size();
    std::vector<at::Tensor> mixed;
    for (const at::Tensor& group : list.slice(list.size() - groups)) mixed.push_back(group.contiguous());
    at::Tensor branch = projected ? mixed[0] : run_projection(mixed, in[kProjWeight], in[kProjBias]);
    if (projected) mixed.clear();  // not needed for its gradient
    const Residual middle = run_residual_norm(x, plan->rows, branch, plan->first, in[kNormWeight], in[kNormBias], plan->eps, plan->second);
    branch = at::Tensor();

    const at::Tensor up = linear_rows(middle.y, in[kUpWeight], in[kUpBias]);
    at::Tensor hidden = empty_rows(up.size(0), plan->swiglu ? up.size(1) / 2 : up.size(1), x);
    const auto code = plan->swiglu ? cuda::launch_swiglu(holds_bf16(x), data(up), hidden.data_ptr(), up.size(0),
                                                         static_cast<int>(hidden.size(1)), current_stream())
                                   : cuda::launch_gelu(holds_bf16(x), data(up), hidden.data_ptr(), up.numel(), current_stream());
    check_launch(code, "feed-forward part");
    branch = linear_rows(hidden, in[kDownWeight], in[kDownBias]);
    const Residual last =
        run_residual_norm(middle.z, plan->rows, branch, plan->second, in[kNextWeight], in[kNextBias], plan->eps, plan->next);

    ctx->set_materialize_grads(false);
    if (plan->training) {
      variable_list saved{in[kProjWeight],
                          in[kNormWeight],
                          in[kUpWeight],
                          in[kDownWeight],
                          middle.z,
                          middle.y,
                          middle.statistics.mean,
                          middle.statistics.rstd,
                          up,
                          hidden};
      const bool with_next = in[kNextWeight].defined();
      for (const at::Tensor& t : {in[kNextWeight], last.z, last.statistics.mean, last.statistics.rstd})
        saved.push_back(with_next ? t : at::Tensor());
      saved.insert(saved.end(), mixed.begin(), mixed.end());
      ctx->save_for_backward(saved);
      ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
      ctx->saved_data["present"] = present;
    }
    return last.y.defined() ? variable_list{last.z, last.y} : variable_list{last.z};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    cpu::refuse_second_derivative();
    auto saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<BranchesPlan>(ctx->saved_data["plan"].toCapsule());
    const int64_t present = ctx->saved_data["present"].toInt();
    const at::Tensor proj_weight = saved[0], norm_weight = saved[1], up_weight = saved[2], down_weight = saved[3], y = saved[4],
                     h2 = saved[5], up = saved[8], hidden = saved[9], next_weight = saved[10], z = saved[11];
    const Statistics middle{saved[6], saved[7]}, next{saved[12], saved[13]};
    const c10::DeviceGuard guard(y.device());
    const bool bf16 = holds_bf16(y);
    std::array<at::Tensor, kBranchesInputs> g;
    PendingTotals totals(y);

    // z = y + gain2 * (hidden down^T + b), and the next norm of z. A gradient that nobody else holds is written over.
    const at::Tensor dz = grads[0].defined() ? std::move(grads[0]).contiguous() : at::Tensor();
    grads[0] = at::Tensor();
    const bool has_next = grads.size() > 1 && grads[1].defined();
    const at::Tensor dh = has_next ? grads[1].contiguous() : at::Tensor();
    const bool owned = dz.defined() && dz.use_count() == 1 && dz.storage().use_count() == 1;
    const ResidualGrads outer =
        run_residual_norm_backward(dz, owned, dh, plan->rows, z.defined() ? z : y, next, next_weight, plan->next, &plan->second, totals);
    g[kDownWeight] = at::mm(outer.branch.t(), hidden);
    const at::Tensor dhidden = at::mm(outer.branch, down_weight), dup = at::empty_like(up);
    const int64_t rows = up.size(0), columns = up.size(1);
    const at::Tensor partial = empty_floats({cuda::column_chunks(rows, static_cast<int>(columns), bf16), columns}, up);
    const auto code = plan->swiglu ? cuda::launch_swiglu_backward(bf16, data(dhidden), data(up), dup.data_ptr(), floats(partial), rows,
                                                                  static_cast<int>(columns / 2), current_stream())
                                   : cuda::launch_gelu_backward(bf16, data(dhidden), data(up), dup.data_ptr(), floats(partial), rows,
                                                                static_cast<int>(columns), current_stream());
    check_launch(code, "backward of the feed-forward part");
    if (present >> kUpBias & 1) g[kUpBias] = totals.add(partial);
    g[kUpWeight] = at::mm(dup.t(), h2);
    const at::Tensor dh2 = at::mm(dup, up_weight);

    // y = x + gain1 * (mixed proj^T + b)
    const bool own_outer = owned || !outer.x.is_same(dz);
    const ResidualGrads inner =
        run_residual_norm_backward(outer.x, own_outer, dh2, plan->rows, y, middle, norm_weight, plan->second, &plan->first, totals);
    g[kX] = inner.x;
    variable_list of_mixed{inner.branch};
    if (proj_weight.defined()) {
      const ProjectionGrads of_projection = run_projection_backward(inner.branch, at::TensorList(saved).slice(14), proj_weight);
      g[kProjWeight] = of_projection.weight;
      of_mixed = of_projection.mixed;
    }
    totals.finish();
    const int64_t dim = y.size(1);
    const auto part = [&](const at::Tensor& sums, int64_t i) { return sums.narrow(0, i * dim, dim); };
    g[kDownBias] = part(outer.sums, 2);
    g[kNormWeight] = part(inner.sums, 0);
    g[kNormBias] = part(inner.sums, 1);
    g[kProjBias] = part(inner.sums, 2);
    if (has_next) {
      g[kNextWeight] = part(outer.sums, 0);
      g[kNextBias] = part(outer.sums, 1);
    }
    variable_list out;
    append_present(out, g, present);
    out.insert(out.end(), of_mixed.begin(), of_mixed.end());
    out.resize(out.size() + 2);
    return out;
  }
};

}  // namespace

PackedOut packed_branches(const at::Tensor& x, const std::vector<at::Tensor>& mixed, const PackedRows& rows, const PackedWeights& w,
                          double eps, const PackedBranch& first, const PackedBranch& second, const PackedNext& next) {
  Inputs in;
  for (const at::Tensor& t : {x, w.proj_weight, w.proj_bias, w.norm_weight, w.norm_bias, w.up_weight, w.up_bias, w.down_weight, w.down_bias,
                              next.weight, next.bias})
    in.add(t);
  in.list.insert(in.list.end(), mixed.begin(), mixed.end());
  auto plan = c10::make_intrusive<BranchesPlan>();
  plan->rows = rows;
  plan->first = first;
  plan->second = second;
  plan->next = next.to;
  plan->eps = eps;
  plan->swiglu = w.up_weight.size(0) == 2 * w.down_weight.size(1);
  plan->training = needs_gradient(in.list);
  const variable_list out = PackedBranchesFunction::apply(at::TensorList(in.list), in.present, plan);
  return {out[0], out.size() > 1 ? out[1] : at::Tensor()};
}

}  // namespace dinoxx::ops
