#include "projection.hpp"

#include "ops/fused.hpp"

namespace dinoxx::ops {

at::Tensor run_projection(at::TensorList mixed, const at::Tensor& weight, const at::Tensor& bias) {
  int64_t rows = 0;
  for (const at::Tensor& group : mixed) rows += group.size(0);
  at::Tensor out = empty_rows(rows, weight.size(0), weight);
  int64_t row = 0;
  for (const at::Tensor& group : mixed) {
    at::Tensor part = out.narrow(0, row, group.size(0));
    if (bias.defined())
      at::addmm_out(part, bias, group, weight.t());
    else
      at::mm_out(part, group, weight.t());
    row += group.size(0);
  }
  return out;
}

ProjectionGrads run_projection_backward(const at::Tensor& dy, at::TensorList mixed, const at::Tensor& weight) {
  ProjectionGrads grads;
  int64_t row = 0;
  for (const at::Tensor& group : mixed) {
    const at::Tensor d = dy.narrow(0, row, group.size(0));
    if (!grads.weight.defined())
      grads.weight = at::mm(d.t(), group);
    else
      grads.weight.addmm_(d.t(), group);
    grads.mixed.push_back(at::mm(d, weight));
    row += group.size(0);
  }
  return grads;
}

namespace {

class PackedProjectionFunction : public torch::autograd::Function<PackedProjectionFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, at::TensorList mixed, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::DeviceGuard guard(weight.device());
    variable_list saved;
    for (const at::Tensor& group : mixed) saved.push_back(group.contiguous());
    at::Tensor out = run_projection(saved, weight, bias.value_or(at::Tensor()));
    saved.push_back(weight);
    ctx->save_for_backward(saved);
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    cpu::refuse_second_derivative();
    variable_list mixed = ctx->get_saved_variables();
    const at::Tensor weight = mixed.back();
    mixed.pop_back();
    const c10::DeviceGuard guard(weight.device());
    ProjectionGrads found = run_projection_backward(grads[0].contiguous(), mixed, weight);
    found.mixed.push_back(found.weight);
    found.mixed.emplace_back();
    return found.mixed;
  }
};

}  // namespace

at::Tensor packed_projection(const std::vector<at::Tensor>& mixed, const at::Tensor& weight, const at::Tensor& bias) {
  return PackedProjectionFunction::apply(at::TensorList(mixed), weight, cpu::maybe(bias.defined() ? bias.detach() : bias));
}

}  // namespace dinoxx::ops
