#include "ops/fused.hpp"
#include "ops/ops.hpp"
#include "residual.hpp"

namespace dinoxx::ops {
namespace {

struct NormPlan : torch::CustomClassHolder {
  NormPlan(PackedRows r, PackedBranch b, double e) : rows(std::move(r)), to(std::move(b)), eps(e) {}
  PackedRows rows;
  PackedBranch to;
  double eps;
};

class PackedNormFunction : public torch::autograd::Function<PackedNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const c10::intrusive_ptr<NormPlan>& plan) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::DeviceGuard guard(input.device());
    const at::Tensor x = input.contiguous();
    const Residual r = run_residual_norm(x, plan->rows, {}, {}, weight, bias, plan->eps, plan->to);
    ctx->save_for_backward({x, weight, r.statistics.mean, r.statistics.rstd});
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return r.y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    cpu::refuse_second_derivative();
    const auto saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<NormPlan>(ctx->saved_data["plan"].toCapsule());
    const c10::DeviceGuard guard(saved[0].device());
    PendingTotals totals(saved[1]);
    const ResidualGrads g = run_residual_norm_backward({}, false, grads[0].contiguous(), plan->rows, saved[0], {saved[2], saved[3]},
                                                       saved[1], plan->to, nullptr, totals);
    totals.finish();
    const int64_t dim = saved[0].size(1);
    return {g.x, g.sums.narrow(0, 0, dim), g.sums.narrow(0, dim, dim), at::Tensor()};
  }
};

}  // namespace

bool packed_supported(const at::Tensor& like, int64_t dim, int64_t hidden, int64_t heads, size_t groups) {
  const auto type = like.scalar_type();
  if (!fused() || !kernels_run_on(like.device()) || (type != at::kFloat && type != at::kBFloat16)) return false;
  const int64_t vector = 16 / static_cast<int64_t>(like.element_size()), head_dim = dim / heads;
  return groups <= cuda::kMaxGroups && dim <= cuda::kMaxDim && dim % heads == 0 && head_dim % (2 * vector) == 0 && hidden % vector == 0;
}

at::Tensor packed_norm(const at::Tensor& x, const PackedRows& rows, const PackedBranch& to, const at::Tensor& weight,
                       const at::Tensor& bias, double eps) {
  return PackedNormFunction::apply(x, weight, bias, c10::make_intrusive<NormPlan>(rows, to, eps));
}

}  // namespace dinoxx::ops
