#include "recompute.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dinoxx {
namespace {

struct Holder : torch::CustomClassHolder {
  Holder(OfWeights function, Hold hold) : f(std::move(function)), hold(std::move(hold)) {}
  std::shared_ptr<void> held(bool backward) const { return hold ? hold(backward) : nullptr; }
  OfWeights f;
  Hold hold;
};

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const c10::intrusive_ptr<Holder>& holder,
                                                int64_t inputs, at::TensorList tensors) {
    // the first `inputs` tensors are the inputs, the rest the weights
    ctx->saved_data["f"] = c10::IValue::make_capsule(holder);
    ctx->saved_data["inputs"] = inputs;
    ctx->save_for_backward(tensors.vec());
    at::NoGradGuard no_grad;
    const std::shared_ptr<void> held = holder->held(/*backward=*/false);
    return holder->f(tensors.slice(0, static_cast<size_t>(inputs)).vec(), tensors.slice(static_cast<size_t>(inputs)).vec());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const auto holder = c10::static_intrusive_pointer_cast<Holder>(ctx->saved_data["f"].toCapsule());
    const auto inputs = static_cast<size_t>(ctx->saved_data["inputs"].toInt());
    const std::shared_ptr<void> held = holder->held(/*backward=*/true);
    // a graph of its own: weights may be made of others, which the backward pass around this one comes to
    torch::autograd::variable_list leaves = ctx->get_saved_variables();
    for (at::Tensor& leaf : leaves) leaf = leaf.detach().requires_grad_(leaf.requires_grad());
    torch::autograd::variable_list outputs;
    {
      at::AutoGradMode enable(true);
      const at::TensorList all(leaves);
      outputs = holder->f(all.slice(0, inputs).vec(), all.slice(inputs).vec());
    }
    torch::autograd::variable_list wanted, roots, root_grads;
    for (const at::Tensor& leaf : leaves)
      if (leaf.requires_grad()) wanted.push_back(leaf);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_grads.push_back(grads[i]);
    }
    torch::autograd::variable_list found;
    if (!roots.empty() && !wanted.empty())
      found =
          torch::autograd::grad(roots, wanted, root_grads, /*retain_graph=*/std::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
    torch::autograd::variable_list result(2);  // the function and the count
    for (size_t i = 0, next = 0; i < leaves.size(); ++i)
      result.push_back(leaves[i].requires_grad() && next < found.size() ? found[next++] : at::Tensor());
    return result;
  }
};

}  // namespace

Tensors recompute(const OfWeights& f, const Tensors& inputs, const Tensors& weights, const Hold& hold) {
  if (!at::GradMode::is_enabled()) {
    const std::shared_ptr<void> held = hold ? hold(/*backward=*/false) : nullptr;
    return f(inputs, weights);
  }
  Tensors tensors = inputs;
  tensors.insert(tensors.end(), weights.begin(), weights.end());
  return RecomputeFunction::apply(c10::make_intrusive<Holder>(f, hold), static_cast<int64_t>(inputs.size()), at::TensorList(tensors));
}

}  // namespace dinoxx
