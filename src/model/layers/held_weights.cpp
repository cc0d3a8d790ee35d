#include "held_weights.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dinoxx {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Of one call, shared by its two nodes.
struct Held : torch::CustomClassHolder {
  explicit Held(Hold hold) : hold(std::move(hold)) {}
  Hold hold;
  std::shared_ptr<void> handle;
};

// Both nodes give back what they get, forward and backward: gradients are not materialized, so that an output without one stays without.
variable_list passed(AutogradContext* ctx, const c10::intrusive_ptr<Held>& held, at::TensorList tensors) {
  ctx->saved_data["held"] = c10::IValue::make_capsule(held);
  ctx->set_materialize_grads(false);
  return tensors.vec();
}
c10::intrusive_ptr<Held> held_of(AutogradContext* ctx) {
  return c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["held"].toCapsule());
}
variable_list passed_back(variable_list grads) {
  grads.insert(grads.begin(), at::Tensor());  // of the handle
  return grads;
}

struct LetGo : torch::autograd::Function<LetGo> {
  static variable_list forward(AutogradContext* ctx, const c10::intrusive_ptr<Held>& held, at::TensorList tensors) {
    return passed(ctx, held, tensors);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    held_of(ctx)->handle.reset();
    return passed_back(std::move(grads));
  }
};

struct Take : torch::autograd::Function<Take> {
  static variable_list forward(AutogradContext* ctx, const c10::intrusive_ptr<Held>& held, at::TensorList tensors) {
    return passed(ctx, held, tensors);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const c10::intrusive_ptr<Held> held = held_of(ctx);
    held->handle = held->hold(/*backward=*/true);
    return passed_back(std::move(grads));
  }
};

}  // namespace

Tensors while_held(const OfWeights& f, const Tensors& inputs, const Tensors& weights, const Hold& hold) {
  const std::shared_ptr<void> here = hold ? hold(/*backward=*/false) : nullptr;
  variable_list leaves = inputs;
  leaves.insert(leaves.end(), weights.begin(), weights.end());
  // those without a gradient stay as they are: of a node's outputs all would want one
  variable_list wanted;
  for (const at::Tensor& leaf : leaves)
    if (leaf.requires_grad()) wanted.push_back(leaf);
  if (!here || !at::GradMode::is_enabled() || wanted.empty()) return f(inputs, weights);
  const auto held = c10::make_intrusive<Held>(hold);
  variable_list passed = LetGo::apply(held, at::TensorList(wanted));
  size_t next = 0;
  for (at::Tensor& leaf : leaves)
    if (leaf.requires_grad()) leaf = passed[next++];
  const auto behind_inputs = leaves.begin() + static_cast<std::ptrdiff_t>(inputs.size());
  return Take::apply(held, at::TensorList(f({leaves.begin(), behind_inputs}, {behind_inputs, leaves.end()})));
}

}  // namespace dinoxx
